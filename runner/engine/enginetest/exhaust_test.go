package enginetest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prompt is how long creeld may take to answer while a sandbox does its
// worst. On a quiet machine it takes some milliseconds.
const prompt = 5 * time.Second

// small are policies with limits that are soon reached.
var small = map[string]string{
	"pids":      "limits: {pids: 48, timeout: 1m}",
	"memory":    "limits: {memory: 64MiB, timeout: 1m}\ntmp: {size: 512MiB, inodes: 1000}",
	"nofile":    "limits: {nofile: 64, timeout: 1m}",
	"tmp":       "limits: {timeout: 1m}\ntmp: {size: 8MiB, inodes: 500}",
	"file-size": "limits: {fileSize: 1MiB, timeout: 1m}",
	"output":    "limits: {output: 64KiB, timeout: 1m}",
	"kept":      "limits: {timeout: 1m}\nlogs: {keep: 64KiB}",
	"brief":     "limits: {pids: 48, timeout: 3s, cpus: 0.5}",
}

// unknown is a number of sandboxes that cannot be told: they may end at any moment.
const unknown = -1

// answers shows that creeld still works: ps lists so many sandboxes, and the
// next invocation is right.
func (s *site) answers(what string, sandboxes int) {
	s.t.Helper()
	// What a command prints can come before the word that it runs.
	if sandboxes != unknown && !s.Holds(func() bool { return s.running() == sandboxes }) {
		s.t.Errorf("%s: ps: %d running, want %d", what, s.running(), sandboxes)
	}
	began := time.Now()
	r := s.Creel("ps", "--json")
	if took := time.Since(began); r.Code != 0 || took > prompt {
		s.t.Errorf("%s: ps: exit %d after %v: %s", what, r.Code, took, r.Stderr)
	}
	if r := s.Exec("echo", "next"); r.Code != 0 || r.Stdout != "next\n" {
		s.t.Errorf("%s: next invocation: exit %d, %q, %q", what, r.Code, r.Stdout, r.Stderr)
	}
}

// running counts the sandboxes whose command runs, as ps tells.
func (s *site) running() int {
	return strings.Count(s.Creel("ps", "--json").Stdout, `"state": "running"`)
}

func TestExhaustionStaysInTheSandbox(t *testing.T) {
	onEachTarget(t, small, func(t *testing.T, s *site) {
		for _, c := range []struct {
			name, policy string
			argv         []string
			stopped      string // what stopped it
			least, most  int    // how much it got
		}{
			{"descriptors", "nofile", []string{"/data/probe", "descriptors", "100000"}, "EMFILE", 50, 64},
			{"disk of /tmp", "tmp", []string{"/data/probe", "fill", "/tmp", "99999999"}, "ENOSPC", 7 << 20, 8 << 20},
			{"inodes of /tmp", "tmp", []string{"/data/probe", "files", "/tmp", "100000"}, "ENOSPC", 490, 500},
			{"disk of /dev/shm", "tmp", []string{"/data/probe", "fill", "/dev/shm", "999999999"}, "ENOSPC", 60 << 20, 64 << 20},
			{"size of a file", "file-size", []string{"python3", "-c", oneFile}, "EFBIG", 1 << 20, 1 << 20},
			{"threads", "pids", []string{"python3", "-c", threads}, "RuntimeError", 30, 48},
			{"processes", "pids", []string{"python3", "-c", processes}, "BlockingIOError", 30, 48},
			// Those of a sandbox count against root's on the host too.
			{"pending signals", "pids", []string{"python3", "-c", signals}, "EAGAIN", 150, 256},
		} {
			run := s.begin(t, c.policy, c.argv...)
			got, err := strconv.Atoi(run.said["ready"])
			if err != nil || run.said["stopped by"] != c.stopped || got < c.least || got > c.most {
				t.Errorf("%s: %v; want %s between %d and %d", c.name, run.said, c.stopped, c.least, c.most)
			}
			s.answers(c.name, 1)
			if code := run.end(t); code != 0 {
				t.Errorf("%s: exit %d: %s", c.name, code, run.stderr.String())
			}
		}
		s.answers("afterwards", 0)
	})
}

// Bombs in Python, since a thread that cannot be made ends a Go program.
const (
	threads = `
import threading, sys
held = threading.Event()
made = 1
try:
    while made < 10000:
        threading.Thread(target=held.wait, daemon=True).start()
        made += 1
    print('stopped by\t"nothing"')
except RuntimeError:
    print('stopped by\t"RuntimeError"')
print(f'ready\t"{made}"', flush=True)
sys.stdin.read()
`
	signals = `
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
queued = 0
while queued < 100000 and libc.sigqueue(os.getpid(), 40, None) == 0:
    queued += 1
print(f'stopped by\t"{errno.errorcode.get(ctypes.get_errno())}"')
print(f'ready\t"{queued}"', flush=True)
sys.stdin.read()
`
	processes = `
import os, signal, sys
made = 1
try:
    while made < 10000:
        if os.fork() == 0:
            signal.pause()
        made += 1
    print('stopped by\t"nothing"')
except BlockingIOError:
    print('stopped by\t"BlockingIOError"')
print(f'ready\t"{made}"', flush=True)
sys.stdin.read()
`
	oneFile = `
import errno, os, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
f = os.open("/workspace/large", os.O_CREAT | os.O_WRONLY)
size = 0
try:
    while size < 1 << 24:
        size += os.write(f, b"x" * 65536)
    print('stopped by\t"nothing"')
except OSError as e:
    print(f'stopped by\t"{errno.errorcode[e.errno]}"')
os.unlink("/workspace/large")
print(f'ready\t"{size}"', flush=True)
sys.stdin.read()
`
)

func TestForkBombEndsWithItsInvocation(t *testing.T) {
	onEachTarget(t, small, func(t *testing.T, s *site) {
		run := s.begin(t, "brief", "bash", "-c", `bomb() { bomb & bomb & wait; }; echo 'ready	""'; bomb 2>/dev/null; read; exit 7`)
		s.answers("fork bomb", unknown) // its time may be over by now
		// Nobody asks it to end: its time limit does.
		if code := run.end(t); code != 124 && code != 7 {
			t.Errorf("fork bomb: exit %d, want 124: %s", code, run.stderr.String())
		}
		s.answers("after the bomb", 0)
		if n := running("bomb"); n != 0 {
			t.Errorf("%d processes are left", n)
		}
	})
}

func TestMemoryBombIsEndedAlone(t *testing.T) {
	onEachTarget(t, small, func(t *testing.T, s *site) {
		for what, argv := range map[string][]string{
			"memory":       {"/data/probe", "memory", "256"},
			"/tmp":         {"sh", "-c", "echo 'ready	\"\"'; head -c 256M /dev/zero > /tmp/x"},
			"many":         {"sh", "-c", "echo 'ready	\"\"'; for i in 1 2 3 4 5 6; do /data/probe memory 60 >/dev/null & done; wait; exit 3"},
			"shared":       {"python3", "-c", "print('ready\\t\"\"', flush=True)\nimport mmap\nm = mmap.mmap(-1, 256 << 20)\nfor i in range(0, 256 << 20, 4096): m[i] = 1"},
			"socket pairs": {"python3", "-c", socketBomb},
		} {
			run := s.begin(t, "memory", argv...)
			s.answers(what, unknown)
			code := run.end(t)
			if code != 137 && (what != "many" || code != 3) { // of many, it is one that is ended
				t.Errorf("%s: exit %d, want 137", what, code)
			}
		}
		result := s.Dir + "/result"
		s.Creel("exec", "--policy", "memory", "--result", result, "--", "/data/probe", "memory", "256")
		if data, err := os.ReadFile(result); err != nil || !strings.Contains(strings.ReplaceAll(string(data), " ", ""), `"reason":"oom"`) {
			t.Errorf("the reason of its end is not told as oom: %v, %s", err, data)
		}
		// The control: with a limit that is large enough the same is no bomb.
		if r := s.Exec("/data/probe", "memory", "256"); r.Code != 0 || !strings.Contains(r.Stdout, "kept\t\"256\"") {
			t.Errorf("256 MiB within a limit of 512: exit %d, %q", r.Code, r.Stdout)
		}
		s.answers("afterwards", 0)
	})
}

// socketBomb fills the buffers of sockets and pipes, which are the kernel's
// memory.
const socketBomb = `
print('ready\t""', flush=True)
import os, socket
kept = []
for _ in range(400):
    a, b = socket.socketpair()
    a.setblocking(False)
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    kept.append((a, b))
    try:
        while True:
            a.send(b"x" * 65536)
    except BlockingIOError:
        pass
raise SystemExit(3)
`

func TestSparseFileTakesNoDisk(t *testing.T) {
	const tebibyte = "1099511627776"
	onEachTarget(t, small, func(t *testing.T, s *site) {
		run := s.begin(t, "tmp", "/data/probe", "sparse", "/tmp", tebibyte)
		if n, err := strconv.Atoi(run.said["bytes on disk"]); err != nil || n > 8<<20 {
			t.Errorf("sparse in /tmp: %v", run.said)
		}
		s.answers("sparse", 1)
		run.end(t)
		run = s.begin(t, "file-size", "/data/probe", "sparse", "/workspace", tebibyte)
		if run.said["truncate"] != "EFBIG" || run.said["write at end"] != "EFBIG" || run.said["bytes on disk"] != "0" {
			t.Errorf("sparse with limits.fileSize: %v", run.said)
		}
		run.end(t)
		// The control: a file within the limit can be made.
		run = s.begin(t, "file-size", "/data/probe", "sparse", "/workspace", "1048576")
		if run.said["truncate"] != "ok" || run.said["write at end"] != "ok" {
			t.Errorf("1 MiB with limits.fileSize of 1 MiB: %v", run.said)
		}
		run.end(t)
	})
}

func TestOutputFloodIsCutOff(t *testing.T) {
	onEachTarget(t, small, func(t *testing.T, s *site) {
		for _, script := range []string{"yes", "yes >&2", "yes & yes >&2", "head -c 1G /dev/zero"} {
			began := time.Now()
			r := s.Creel("exec", "--policy", "output", "--", "sh", "-c", script)
			if n := len(r.Stdout) + len(r.Stderr); r.Code != 137 || len(r.Stdout) > 64<<10 || n < 64<<10 || n > 65<<10 {
				t.Errorf("%s: exit %d after %v with %d bytes, want 137 and 65536: %.80q", script, r.Code, time.Since(began), n, r.Stderr)
			}
		}
		if r := s.Creel("exec", "--policy", "output", "--", "head", "-c", "65536", "/dev/zero"); r.Code != 0 || len(r.Stdout) != 64<<10 {
			t.Errorf("as much as the limit: exit %d, %d bytes", r.Code, len(r.Stdout))
		}
	})
}

func TestUnreadOutputCostsNoMemory(t *testing.T) {
	onEachTarget(t, small, func(t *testing.T, s *site) {
		for _, policy := range []string{filtered, "kept"} {
			before := s.memory()
			// The command fills its pipe, and nobody reads the client's.
			cmd := s.Command("exec", "--policy", policy, "--", "sh", "-c", "echo begin; exec yes")
			read, write, err := os.Pipe()
			s.check(err)
			cmd.Stdout = write
			s.check(cmd.Start())
			write.Close()
			if line, err := bufio.NewReaderSize(io.LimitReader(read, 16), 16).ReadString('\n'); line != "begin\n" {
				t.Errorf("%s: %q, %v", policy, line, err)
			}
			s.answers("unread output", 1)
			if after := s.memory(); after > before+64<<10 {
				t.Errorf("%s: creeld took %d KiB for output that nobody reads", policy, after-before)
			}
			s.check(cmd.Process.Kill())
			_ = cmd.Wait()
			read.Close()
			s.Eventually("the sandbox of a killed client is gone", func() bool {
				return !strings.Contains(s.Creel("ps", "--json").Stdout, "running")
			})
		}
	})
}

// memory is creeld's resident size in KiB.
func (s *site) memory() int {
	s.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	s.check(err)
	_, rest, _ := bytes.Cut(data, []byte("VmRSS:"))
	n, err := strconv.Atoi(strings.Fields(string(rest))[0])
	s.check(err)
	return n
}

package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// waiting is a command that goes on until the test has done what it does.
var waiting = []string{"--", "sh", "-c", "until [ -e /workspace/enough ]; do sleep 0.02; done"}

// whileItRuns starts verify-no-leak, calls leak with the value that the
// command has been given, as another process of the host can come to know it,
// and returns what is reported.
func (r *rig) whileItRuns(t *testing.T, code int, leak func(value string), flags ...string) report {
	t.Helper()
	cmd := r.prepare(append(flags, waiting...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	check(t, cmd.Start())
	value := ""
	r.Eventually("the command runs with a canary", func() bool {
		value = delivered()
		return value != ""
	})
	leak(value)
	check(t, os.WriteFile(r.Workspace+"/enough", nil, 0o644))
	_ = cmd.Wait() // the exit code says it
	check(t, os.Remove(r.Workspace+"/enough"))
	got := r.told(t, code, testrig.Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()})
	if said := stdout.String() + stderr.String() + r.Log(); strings.Contains(said, value[:canaryLength]) {
		t.Error("the canary is printed, or logged by creeld")
	}
	return got
}

const canaryLength = 52

// onDisk is the place of what is written on the own host's disk.
const onDisk = "files written on " + diskDir + " (ext4)"

// delivered is the value of TOKEN in some process of this host.
func delivered() string {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		data, _ := os.ReadFile(file)
		for variable := range bytes.SplitSeq(data, []byte{0}) {
			if value, ok := strings.CutPrefix(string(variable), "TOKEN="); ok && len(value) > canaryLength {
				return value
			}
		}
	}
	return ""
}

// leaks are one of each kind that a host can have. Each is undone when the test
// ends.
var leaks = []struct {
	name, place, where, form string
	leak                     func(t *testing.T, value string)
}{
	{"a file that is deleted at once", onDisk, diskDir + "/deleted", "as it is", func(t *testing.T, value string) {
		check(t, os.WriteFile(diskDir+"/deleted", []byte(value), 0o600))
		check(t, os.Remove(diskDir+"/deleted"))
	}},
	{"the end of a large file", onDisk, diskDir + "/large", "as it is", func(t *testing.T, value string) {
		put(t, diskDir+"/large", strings.Repeat("x", 5<<20+1234)+value)
	}},
	{"base64", onDisk, diskDir + "/base64", "in base64", func(t *testing.T, value string) {
		put(t, diskDir+"/base64", base64.StdEncoding.EncodeToString([]byte("user:"+value)))
	}},
	{"hex", "files written on /dev/shm (tmpfs)", "/dev/shm/hex", "in upper-case hex", func(t *testing.T, value string) {
		put(t, "/dev/shm/hex", strings.ToUpper(hex.EncodeToString([]byte(value))))
	}},
	{"a file that stays", "files at rest in /run", "/run/kept", "as it is", func(t *testing.T, value string) {
		put(t, "/run/kept", value)
	}},
	{"a file in a directory that is a link", "files at rest in /var/lib/systemd/coredump", "/srv/cores/core", "as it is", func(t *testing.T, value string) {
		check(t, os.MkdirAll("/var/lib/systemd", 0o755))
		check(t, os.MkdirAll("/srv/cores", 0o755))
		check(t, os.Symlink("/srv/cores", "/var/lib/systemd/coredump"))
		t.Cleanup(func() { check(t, os.Remove("/var/lib/systemd/coredump")) })
		put(t, "/srv/cores/core", value)
	}},
	{"the name of a file", "files at rest in /var/tmp", "the name of /var/tmp/[canary]", "as it is", func(t *testing.T, value string) {
		put(t, "/var/tmp/"+value[:canaryLength], "")
	}},
	{"the target of a link", "files at rest in /var/log", "the target of /var/log/link", "as it is", func(t *testing.T, value string) {
		check(t, os.Symlink(value, "/var/log/link"))
		t.Cleanup(func() { check(t, os.Remove("/var/log/link")) })
	}},
	{"an argument", "arguments of processes", "/cmdline", "as it is", func(t *testing.T, value string) {
		background(t, nil, value)
	}},
	{"an environment", "environment of processes", "/environ", "as it is", func(t *testing.T, value string) {
		background(t, []string{"COPIED=" + value})
	}},
	{"a file without a name", "open files without a name", "/memfd:shim", "as it is", func(t *testing.T, value string) {
		fd, err := unix.MemfdCreate("shim", unix.MFD_CLOEXEC)
		check(t, err)
		file := os.NewFile(uintptr(fd), "shim")
		t.Cleanup(func() { file.Close() })
		_, err = file.WriteString(value)
		check(t, err)
	}},
	{"a file that is mapped", "files mapped to be written", "/srv/mapped", "as it is", mapped},
	{"an abstract socket", "names of Unix sockets", "/net/unix", "as it is", func(t *testing.T, value string) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		check(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		check(t, unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + value[:canaryLength]}))
	}},
	{"a mount", "mounts of all namespaces", "/mountinfo", "as it is", func(t *testing.T, value string) {
		check(t, os.Mkdir("/srv/mounted", 0o755))
		check(t, unix.Mount(value, "/srv/mounted", "tmpfs", 0, ""))
		t.Cleanup(func() { check(t, unix.Unmount("/srv/mounted", 0)); check(t, os.Remove("/srv/mounted")) })
	}},
	{"a kernel key", "names of kernel keys", "/proc/keys", "as it is", func(t *testing.T, value string) {
		key, err := unix.AddKey("user", value, []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
		check(t, err)
		t.Cleanup(func() { _, _ = unix.KeyctlInt(unix.KEYCTL_INVALIDATE, key, 0, 0, 0) })
	}},
	{"the kernel's log", "kernel log", "/dev/kmsg", "as it is", func(t *testing.T, value string) {
		check(t, os.WriteFile("/dev/kmsg", []byte("<7>shim: "+value+"\n"), 0))
	}},
	{"the kernel's trace", "kernel trace", "/trace", "as it is", func(t *testing.T, value string) {
		check(t, os.WriteFile(tracing, []byte("shim: "+value), 0))
	}},
	{"a control group", "control groups", "the name of /sys/fs/cgroup/", "as it is", func(t *testing.T, value string) {
		dir := "/sys/fs/cgroup/" + value[:canaryLength]
		if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err != nil { // no cgroup v2
			dir = "/sys/fs/cgroup/pids/" + value[:canaryLength]
		}
		check(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() { check(t, os.Remove(dir)) })
	}},
}

func put(t *testing.T, path, text string) {
	check(t, os.WriteFile(path, []byte(text), 0o600))
	t.Cleanup(func() { check(t, os.Remove(path)) })
}

// background starts a process that stays until the test ends.
func background(t *testing.T, env []string, args ...string) {
	cmd := exec.Command("sh", append([]string{"-c", "read _", "sh"}, args...)...)
	cmd.Env = env
	in, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() }) // read has failed, as it should
}

// mapped has a file written by its mapping alone, after it was last changed by
// any other means: neither its times nor fanotify(7) tell of it.
func mapped(t *testing.T, value string) {
	file, err := os.Create("/srv/mapped")
	check(t, err)
	t.Cleanup(func() { check(t, os.Remove("/srv/mapped")); file.Close() })
	check(t, file.Truncate(4096))
	area, err := unix.Mmap(int(file.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(t, err)
	t.Cleanup(func() { check(t, unix.Munmap(area)) })
	copy(area, value)
}

func TestEveryKindOfLeakIsFoundAndNamed(t *testing.T) {
	r := start(t, testrig.Options{})
	got := r.whileItRuns(t, 1, func(value string) {
		for _, l := range leaks {
			l.leak(t, value)
		}
	})
	if got.Verdict != "leak" {
		t.Errorf("verdict %q", got.Verdict)
	}
	for _, l := range leaks {
		t.Run(l.name, func(t *testing.T) {
			for _, f := range got.Findings {
				if f.Place == l.place && strings.Contains(f.Where, l.where) && strings.HasPrefix(f.Form, l.form) {
					return
				}
			}
			t.Errorf("it is not among the findings: %+v", got.Findings)
		})
	}
}

func TestWhatWritesAFileIsNamed(t *testing.T) {
	r := start(t, testrig.Options{})
	in, out, err := os.Pipe()
	check(t, err)
	defer in.Close()
	writer := exec.Command("sh", "-c", `read -r value; printf %s "$value" >/mnt/copied; echo`)
	t.Cleanup(func() { check(t, os.Remove("/mnt/copied")) })
	got := r.whileItRuns(t, 1, func(value string) {
		writer.Stdin, writer.Stdout = strings.NewReader(value), out
		check(t, writer.Start())
		check(t, out.Close())
		_, err := in.Read(make([]byte, 1)) // it has written
		check(t, err)
	})
	_ = writer.Wait()
	want := fmt.Sprintf("process %d, sh", writer.Process.Pid)
	if len(got.Findings) != 1 || got.Findings[0].Where != "/mnt/copied" || got.Findings[0].Process != want {
		t.Errorf("findings %+v, want one by %s", got.Findings, want)
	}
}

func TestCommandThatWritesItsCredentialIsFound(t *testing.T) {
	for _, warm := range []string{"", "pool: {warm: 1}\n"} {
		r := start(t, testrig.Options{Policy: warm})
		if warm != "" {
			r.Stocked("exec-default")
		}
		// What writes it stays, so that there is somebody to name.
		got := r.verify(t, 1, "--", "sh", "-c", `{ printf %s "$PASSWORD" >kept; echo "$TOKEN" >gone; rm gone; >done; exec sleep 1000; } &
			until [ -e done ]; do sleep 0.02; done; rm done`)
		// Where it was, as the command sees it: it is the one that wrote it.
		if !got.finds("files written on /tmp (tmpfs)", "/workspace/kept") || !got.finds("files written on /tmp (tmpfs)", "/workspace/gone") ||
			!got.finds("files at rest in /tmp", r.Workspace+"/kept") {
			t.Errorf("findings %+v", got.Findings)
		}
		got = r.verify(t, 1, "--", "sh", "-c", `sh -c 'read _ </dev/null; sleep 1; :' "$TOKEN"; rm kept`)
		if !strings.HasSuffix(got.Findings[0].Process, ", of the command") {
			t.Errorf("findings %+v", got.Findings)
		}
		// Its child, too, before that becomes sleep.
		if !got.finds("arguments of processes", "/cmdline") || slices.ContainsFunc(got.Findings, func(f finding) bool { return f.Place != "arguments of processes" }) {
			t.Errorf("findings %+v", got.Findings)
		}
	}
}

// TestWhatTheCommandStartsIsItsOwnHoweverShortItLives has processes with the
// credential in their environment, as they should, end while they are looked at.
func TestWhatTheCommandStartsIsItsOwnHoweverShortItLives(t *testing.T) {
	r := start(t, testrig.Options{})
	r.verify(t, 0, "--", "sh", "-c", "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done")
}

// TestDeletedFilesAreFoundOnTheRawDevice has the value on the disk, where its
// file was.
func TestDeletedFilesAreFoundOnTheRawDevice(t *testing.T) {
	out, err := exec.Command("findmnt", "--noheadings", "--output", "SOURCE", diskDir).Output()
	check(t, err)
	device := strings.TrimSpace(string(out))
	place := "raw device " + device
	r := start(t, testrig.Options{})
	if got := r.verify(t, 0, "--raw", device); got.state(place) != "covered" {
		t.Errorf("%s is %s", place, got.state(place))
	}
	got := r.whileItRuns(t, 1, func(value string) {
		file, err := os.Create(diskDir + "/deleted")
		check(t, err)
		_, err = file.WriteString(strings.Repeat(" ", 3000) + value)
		check(t, err)
		check(t, file.Sync())
		check(t, os.Remove(file.Name()))
		check(t, file.Close())
	}, "--raw", device)
	if !got.finds(place, device) {
		t.Errorf("findings %+v", got.Findings)
	}
	for _, other := range []string{"/dev/null", "/nonexistent", r.Dir} {
		if got := r.verify(t, 125, "--raw", other); got.state("raw device "+other) != "not-covered" {
			t.Errorf("raw device %s is %s", other, got.state("raw device "+other))
		}
	}
}

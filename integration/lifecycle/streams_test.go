package lifecycle

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// kept makes every byte pass through the supervisor; without it none does.
const kept = "logs: {keep: 64KiB}"

func TestExitCodesAreTheCommandsOwn(t *testing.T) {
	onEachMaker(t, "", func(t *testing.T, r *testrig.Rig) {
		if err := os.WriteFile(r.Workspace+"/data", []byte("no program\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			code int
			args []string
		}{
			{0, []string{"true"}},
			{7, []string{"sh", "-c", "exit 7"}},
			{255, []string{"sh", "-c", "exit 255"}},
			{126, []string{"/workspace/data"}},
			{126, []string{"/workspace"}},
			{127, []string{"no-such-command"}},
			{127, []string{"/no/such/file"}},
			{137, []string{"sh", "-c", "kill -KILL $$"}},
			{143, []string{"sh", "-c", "kill -TERM $$"}},
		} {
			if got := r.Exec(c.args...); got.Code != c.code {
				t.Errorf("%v ended with %d, want %d: %s", c.args, got.Code, c.code, got.Stderr)
			}
		}
	})
}

// TestStreamsKeepBytesAndOrder sends every byte value through, both where the
// command has the caller's own pipes and where the supervisor moves them.
func TestStreamsKeepBytesAndOrder(t *testing.T) {
	for _, target := range makers {
		for _, more := range []string{"", kept} {
			t.Run(target.Maker+" "+more, func(t *testing.T) {
				streams(t, testrig.Start(t, testrig.Options{Target: target, Policy: more}))
			})
		}
	}
}

func streams(t *testing.T, r *testrig.Rig) {
	t.Helper()
	data := make([]byte, 3<<20)
	rand.Read(data)
	cmd := r.Command("exec", "-i", "--", "sh", "-c", "tee /dev/stderr")
	cmd.Stdin = bytes.NewReader(data)
	if got := r.Run(cmd); got.Code != 0 || got.Stdout != string(data) || got.Stderr != string(data) {
		t.Errorf("%d bytes went in, %d and %d came out, code %d", len(data), len(got.Stdout), len(got.Stderr), got.Code)
	}
	both := r.Command("exec", "--", "sh", "-c", "for i in $(seq 500); do echo o$i; echo e$i >&2; done")
	out, err := both.CombinedOutput() // one pipe for both, like 2>&1
	var want strings.Builder
	for i := 1; i <= 500; i++ {
		fmt.Fprintf(&want, "o%d\ne%d\n", i, i)
	}
	if err != nil || string(out) != want.String() {
		t.Errorf("two streams in one pipe lost their order: %v", err)
	}
	if got := r.Exec("cat"); got.Code != 0 || got.Stdout != "" {
		t.Errorf("without -i, cat read %q", got.Stdout)
	}
}

// TestOneGiBPassesInBoundedMemory counts the bytes and the peak memory of the
// client and the supervisor.
func TestOneGiBPassesInBoundedMemory(t *testing.T) {
	const most = 64 << 10 // KiB
	for _, more := range []string{"", kept} {
		r := testrig.Start(t, testrig.Options{Policy: more})
		cmd := r.Command("exec", "--", "sh", "-c", "head -c 1073741824 /dev/zero")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, stdout)
		if err != nil || n != 1<<30 {
			t.Errorf("%q: %d bytes came out: %v", more, n, err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%q: %v", more, err)
		}
		if peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss; peak > most {
			t.Errorf("%q: the client used %d KiB", more, peak)
		}
		if peak := peakMemory(t, r.Pid()); peak > most {
			t.Errorf("%q: the supervisor used %d KiB", more, peak)
		}
	}
}

// peakMemory is in KiB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTerminalIsMadeInsideTheSandbox drives a real terminal from outside.
func TestTerminalIsMadeInsideTheSandbox(t *testing.T) {
	onEachMaker(t, "", func(t *testing.T, r *testrig.Rig) {
		cmd := r.Command("exec", "-it", "--", "sh", "-c",
			`test -t 0 && test -t 1 && test -t 2 && tty && stty size && read line && echo "got $line" && ls -l /proc/self/fd/0 | grep -o '/dev/.*'`)
		terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 77})
		if err != nil {
			t.Fatal(err)
		}
		defer terminal.Close()
		if _, err := terminal.WriteString("hello\n"); err != nil {
			t.Fatal(err)
		}
		out, _ := io.ReadAll(terminal) // EIO at the end of a terminal
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		for _, want := range []string{"/dev/pts/0\r\n", "33 77\r\n", "got hello\r\n"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("the terminal showed %q, without %q", out, want)
			}
		}
		if got := r.Exec("sh", "-c", "test -t 0 || test -t 1"); got.Code == 0 {
			t.Error("control: a command without -t has a terminal")
		}
	})
}

// TestOrdinaryToolsWork runs what an agent uses, in a sandbox as it comes.
func TestOrdinaryToolsWork(t *testing.T) {
	onEachMaker(t, "limits: {timeout: 2m, pids: 256, memory: 1GiB}", func(t *testing.T, r *testrig.Rig) {
		for name, script := range map[string]string{
			"bash and coreutils": `bash -c 'a=(1 2 3); [[ ${#a[@]} = 3 ]]' && seq 10 | sort -rn | head -1 | grep -qx 10 && cp /etc/passwd p && stat p && date`,
			"git":                `git init -q g && cd g && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m m && git log --oneline | grep -q m`,
			"python3": `/usr/bin/python3 -c 'import subprocess,threading,socket,ssl,tempfile,sqlite3,multiprocessing as m
print(m.Pool(2).map(abs,[-1,-2])); tempfile.TemporaryFile(); t=threading.Thread(target=lambda:0); t.start(); t.join()'`,
			"node":              `node -e 'require("child_process").execSync("true"); require("fs").writeFileSync("n","1"); new (require("worker_threads").Worker)("1",{eval:true})'`,
			"gcc, make and tar": `printf 'int main(){return 0;}' >c.c && printf 'c: c.c\n\tgcc -o c c.c\n' >Makefile && make -s && ./c && tar cf t.tar c.c && tar tf t.tar | grep -q c.c`,
		} {
			if got := r.Creel("exec", "--", "sh", "-ec", "mkdir -p /tmp/w; cd /tmp/w; "+script); got.Code != 0 {
				t.Errorf("%s: ended with %d: %s%s", name, got.Code, got.Stdout, got.Stderr)
			}
		}
		if got := r.Creel("exec", "--", "sh", "-ec", "git commit nothing"); got.Code == 0 {
			t.Error("control: a failing tool is not seen")
		}
		if _, err := exec.LookPath("git"); err != nil {
			t.Error(err)
		}
	})
}

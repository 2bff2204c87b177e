package dump

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
)

// What this program is when it is started with this argument: one that holds a
// secret, or one of the same user that opens a file of another process.
const (
	held  = "hold"
	naked = "hold without Forbid"
	look  = "look"
)

// Exit codes of these.
const (
	opened = 10 + iota
	denied
	failed
)

// nobody is a user without rights.
const nobody = 65534

func TestMain(m *testing.M) {
	switch role := append(os.Args, "")[1]; role {
	case held, naked:
		os.Exit(hold(role))
	case look:
		os.Exit(looks(os.Args[2]))
	default:
		os.Exit(m.Run())
	}
}

// hold says when it is ready, and ends with its standard input.
func hold(role string) int {
	if role == held {
		if err := Forbid(); err != nil {
			return failed
		}
	}
	os.Stdout.WriteString("ready")
	io.Copy(io.Discard, os.Stdin)
	return 0
}

func looks(path string) int {
	_, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return denied
	case err != nil:
		return failed
	}
	return opened
}

// start runs this program as a user without rights.
func start(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	// By a descriptor: that user cannot come to the file.
	self, err := os.Open("/proc/self/exe")
	check(t, err)
	t.Cleanup(func() { self.Close() })
	cmd := exec.Command("/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOthersOfTheUserCannotLookInto(t *testing.T) {
	for role, want := range map[string]int{naked: opened, held: denied} {
		holder := start(t, role)
		stdin, err := holder.StdinPipe()
		check(t, err)
		stdout, err := holder.StdoutPipe()
		check(t, err)
		check(t, holder.Start())
		ready := make([]byte, len("ready"))
		_, err = io.ReadFull(stdout, ready)
		if err != nil {
			t.Errorf("%s: it says %q, %v", role, ready, err)
		}
		for _, file := range []string{"environ", "mem", "maps", "fd/3", "auxv"} {
			looker := start(t, look, "/proc/"+strconv.Itoa(holder.Process.Pid)+"/"+file)
			_ = looker.Run()
			if got := looker.ProcessState.ExitCode(); got != want {
				t.Errorf("%s, %s: %d, want %d", role, file, got, want)
			}
		}
		stdin.Close()
		check(t, holder.Wait())
	}
}

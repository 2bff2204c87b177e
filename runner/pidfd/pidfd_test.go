package pidfd

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func child(t *testing.T) (*exec.Cmd, *os.File) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	check(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	f, err := Open(cmd.Process.Pid)
	check(t, err)
	t.Cleanup(func() { f.Close() })
	return cmd, f
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestProcessIsKilledAndAwaited(t *testing.T) {
	cmd, f := child(t)
	if Ended(f) {
		t.Error("control: it has ended already")
	}
	waited := make(chan error, 1)
	go func() { waited <- Wait(f) }()
	Kill(f)
	check(t, <-waited)
	if !Ended(f) {
		t.Error("it has not ended")
	}
	check(t, unix.Kill(cmd.Process.Pid, 0)) // its zombie is left to its parent
	_ = cmd.Wait()                          // says "killed"
	check(t, Wait(f))
	Kill(f)
}

func TestWaitEndsWithTheDescriptor(t *testing.T) {
	_, f := child(t)
	check(t, f.SetReadDeadline(time.Now()))
	if err := Wait(f); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}
	check(t, f.SetReadDeadline(time.Time{}))
	waited := make(chan error, 1)
	go func() { waited <- Wait(f) }()
	check(t, f.Close())
	if err := <-waited; err == nil {
		t.Error("a closed descriptor says that the process has ended")
	}
	if !Ended(f) {
		t.Error("a closed descriptor still refers to a process")
	}
	Kill(f)
}

func TestProcessThatIsNotThereCannotBeOpened(t *testing.T) {
	if f, err := Open(1 << 30); err == nil {
		f.Close()
		t.Error("opened")
	}
}

package seccomp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// initWork does what creel-init needs: children with pidfds, a listener on
// loopback, socket pairs with descriptors, a pty, and a second filter.
func initWork() error {
	for name, step := range map[string]func() error{
		"start a child":      func() error { return exec.Command("/bin/true").Run() },
		"be a reaper":        func() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) },
		"hide from ptrace":   func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) },
		"listen on loopback": listenAndTalk,
		"make a pty":         makePty,
		"pass a descriptor":  passDescriptor,
		"open a pidfd": func() error {
			fd, err := unix.PidfdOpen(os.Getpid(), 0)
			return errors.Join(err, unix.Close(fd))
		},
	} {
		if err := step(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	profile, err := Parse("allow", []byte(`{"defaultAction": "SCMP_ACT_ALLOW"}`))
	if err != nil {
		return err
	}
	program, err := Compile(profile)
	if err != nil {
		return err
	}
	if err := install(program); err != nil {
		return fmt.Errorf("install another filter: %w", err)
	}
	return unix.Exec("/bin/echo", []string{"echo", "all of it"}, nil)
}

func listenAndTalk() error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := net.Dial("tcp4", listener.Addr().String())
		if err == nil {
			_, err = io.WriteString(conn, "hello")
			conn.Close()
		}
		done <- err
	}()
	conn, err := listener.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	said, err := io.ReadAll(conn)
	if string(said) != "hello" {
		return fmt.Errorf("read %q: %w", said, err)
	}
	return <-done
}

func makePty() error {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	return slave.Close()
}

func passDescriptor() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(0), nil, 0)
}

func TestInitWorksUnderTheFloor(t *testing.T) {
	out, err := filtered(t, []Program{mustCompile(t, floorProfile(t))}, "init-work").CombinedOutput()
	if err != nil || string(out) != "all of it\n" {
		t.Errorf("init under the floor: %v, %q", err, out)
	}
}

func TestCommandStartsAfterBothFilters(t *testing.T) {
	out, err := filtered(t, asInSandbox(t), "exec", "cat", "/proc/self/status").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, line := range []string{"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "Seccomp_filters:\t2\n"} {
		if !strings.Contains(string(out), line) {
			t.Errorf("status lacks %q:\n%s", line, out)
		}
	}
}

package main

import (
	"golang.org/x/sys/unix"
	"runtime"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// terminal is PID 1's end of the command's terminal. The caller's own terminal
// never enters a sandbox: with TIOCSTI or TIOCLINUX a command could type on it.
type terminal struct {
	master  int
	drained chan struct{} // closed when all output was passed on
}

// chunk is how much is copied at once, in bytes.
const chunk = 16 << 10

// openTerminal makes a pty of the given size, starts copying between it and
// the caller's pipes, and gives the command's three descriptors of it, which
// the caller closes. It takes over the pipes.
func openTerminal(rows, cols uint16, pipes []int) (*terminal, []int, error) {
	initproto.CloseAll(pipes[2:]) // a terminal has one output
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	t := &terminal{master: master, drained: make(chan struct{})}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, err
	}
	if err := t.resize(rows, cols); err != nil {
		return nil, nil, err
	}
	// By descriptor, not by the name in /dev/pts: ioctl_tty(2), TIOCGPTPEER.
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER,
		unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, errno
	}
	go t.copyInput(pipes[0])
	go t.copyOutput(pipes[1])
	// Both wait in a read(2) before there is a command, so that no thread need be
	// made when it has used up the limit of processes.
	runtime.Gosched()
	// One descriptor under three numbers: a Job always has three.
	stdio := []int{int(slave)}
	for len(stdio) < 3 {
		fd, err := unix.FcntlInt(slave, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, stdio, err
		}
		stdio = append(stdio, fd)
	}
	return t, stdio, nil
}

// resize sets the size; the kernel sends SIGWINCH to the foreground group.
func (t *terminal) resize(rows, cols uint16) error {
	return unix.IoctlSetWinsize(t.master, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}

// copyOutput copies until the last descriptor of the terminal is closed, when
// the master has given everything and gives EIO. Where the caller's pipe is
// broken the rest is read and thrown away, so that the command does not hang.
func (t *terminal) copyOutput(out int) {
	defer close(t.drained)
	defer unix.Close(out)
	broken := false
	for buf := make([]byte, chunk); ; {
		n, err := unix.Read(t.master, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		broken = broken || writeAll(out, buf[:n]) != nil
	}
}

// copyInput copies until the pipe ends, and then types the end of file.
func (t *terminal) copyInput(in int) {
	defer unix.Close(in)
	midLine := false
	for buf := make([]byte, chunk); ; {
		n, err := unix.Read(in, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.typeEOF(midLine)
			return
		}
		if writeAll(t.master, buf[:n]) != nil {
			return
		}
		midLine = buf[n-1] != '\n'
	}
}

// typeEOF types the terminal's end-of-file character: once at the start of a
// line, twice inside one, where the first only sends the line (termios(3),
// VEOF). A program that has left canonical mode gets the character itself, as
// it would from a person.
func (t *terminal) typeEOF(midLine bool) {
	settings, err := unix.IoctlGetTermios(t.master, unix.TCGETS)
	if err != nil || settings.Cc[unix.VEOF] == 0 { // 0: disabled
		return
	}
	eof := []byte{settings.Cc[unix.VEOF]}
	if midLine && settings.Lflag&unix.ICANON != 0 {
		eof = append(eof, eof[0])
	}
	writeAll(t.master, eof) // fails only when nobody is left to read it
}

// writeAll writes all of p to a blocking descriptor.
func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

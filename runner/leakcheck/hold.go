package leakcheck

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// heldDir is where Hold mounts a file system, in its own mount namespace.
const heldDir = "/tmp"

// holdVariable has the control in the environment of the process that holds it.
const holdVariable = "CREEL_CONTROL"

// Hold is the process of the control: it has the control, its last argument,
// in every place where a process can have something, until its standard input
// ends. It is started in a mount namespace of its own, so nothing of it is left
// when it ends, however it does.
func Hold(control string, in io.Reader, out io.Writer) error {
	word := "creel-control-" + control
	if err := unix.Mount(word, heldDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=1m,mode=700"); err != nil {
		return fmt.Errorf("mount control: %w", err)
	}
	content := []byte(control + "\n")
	err := errors.Join(
		os.WriteFile(filepath.Join(heldDir, "content"), content, 0o600),
		os.WriteFile(filepath.Join(heldDir, word), nil, 0o600),
		os.Symlink(word, filepath.Join(heldDir, "link")),
	)
	if err != nil {
		return fmt.Errorf("write control: %w", err)
	}
	memory, err := unix.MemfdCreate(word, unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make control without a name: %w", err)
	}
	defer unix.Close(memory)
	if _, err := unix.Write(memory, content); err != nil {
		return fmt.Errorf("write control without a name: %w", err)
	}
	if err := mapControl(filepath.Join(heldDir, "mapped"), content); err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket: %w", err)
	}
	defer unix.Close(socket)
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: "@" + word}); err != nil {
		return fmt.Errorf("bind socket: %w", err)
	}
	// Gone with the process (process-keyring(7)). Where it is refused, the
	// control is not found, and that is what is told.
	_, _ = unix.AddKey("user", word, content, unix.KEY_SPEC_PROCESS_KEYRING)
	if _, err := fmt.Fprintln(out, "held"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// mapControl writes to a file by a mapping that stays.
func mapControl(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make mapped control: %w", err)
	}
	defer file.Close()
	if err := file.Truncate(int64(len(content))); err != nil {
		return fmt.Errorf("make mapped control: %w", err)
	}
	area, err := unix.Mmap(int(file.Fd()), 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map control: %w", err)
	}
	copy(area, content)
	return nil
}

// holder is a running Hold.
type holder struct {
	cmd *exec.Cmd
	in  io.Closer
	// ended waits for its end, once.
	ended func() error
}

// startHolder starts a program that calls Hold, and returns once it holds.
func startHolder(argv []string, control Canary) (*holder, error) {
	cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], string(control))...)
	cmd.Env = []string{holdVariable + "=" + string(control)}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	var said strings.Builder
	cmd.Stderr = &said
	in, inErr := cmd.StdinPipe()
	out, err := cmd.StdoutPipe()
	if err := errors.Join(inErr, err, cmd.Start()); err != nil {
		return nil, fmt.Errorf("start control: %w", err)
	}
	h := &holder{cmd, in, sync.OnceValue(cmd.Wait)}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held\n" {
		return nil, fmt.Errorf("start control: it does not hold: %w", errors.Join(err, h.close(), errors.New(strings.TrimSpace(said.String()))))
	}
	return h, nil
}

// pid is the process's.
func (h *holder) pid() int { return h.cmd.Process.Pid }

// close ends it; it may be called again. Where this process is killed instead, the end of its pipe
// does the same.
func (h *holder) close() error {
	h.in.Close()
	if err := h.ended(); err != nil {
		return fmt.Errorf("end control: %w", err)
	}
	return nil
}

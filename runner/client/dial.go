package client

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// socket is one of them, with what its errors say.
type socket struct {
	path, variable, unit string
	admin                bool
	tokenFile            string // of a token to show there; empty: none
}

func (c *Client) execSocket() socket {
	if c.TokenFile != "" {
		return socket{path: c.ExecSocket, variable: ExecSocketVariable, unit: "creeld.service", tokenFile: c.TokenFile}
	}
	return socket{path: c.ExecSocket, variable: ExecSocketVariable, unit: "creeld-exec.socket"}
}

func (c *Client) adminSocket() socket {
	if c.TokenFile != "" {
		return c.execSocket()
	}
	return socket{path: c.AdminSocket, variable: AdminSocketVariable, unit: "creeld-admin.socket", admin: true}
}

// dial connects. It blocks while the supervisor's backlog is full, up to
// sendTimeout, and makes the descriptor non-blocking only then: a
// non-blocking connect(2) to a full backlog fails at once (unix(7)).
func dial(to socket) (*api.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	if err := connect(fd, to.path); err != nil {
		unix.Close(fd)
		return nil, dialError(to, err)
	}
	file := os.NewFile(uintptr(fd), to.path)
	conn, err := api.NewConn(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	conn.SendTimeout = sendTimeout
	return conn, nil
}

func connect(fd int, path string) error {
	timeout := unix.NsecToTimeval(int64(sendTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		return fmt.Errorf("set timeout: %w", err)
	}
	err := error(unix.EINTR)
	for err == unix.EINTR {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err != nil {
		return err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK) // a new socket has no other flag
	return err
}

// dialError says why nobody answers, each cause with its own cure.
func dialError(to socket, err error) error {
	e := &api.Error{
		Code:     api.CodeUnavailable,
		Message:  fmt.Sprintf("connect to supervisor at %s: %v", to.path, err),
		Hint:     fmt.Sprintf("%s points creel to another socket", to.variable),
		ExitCode: api.ExitFailed,
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		e.Message = fmt.Sprintf("there is no supervisor: %s does not exist", to.path)
		e.Hint = fmt.Sprintf("start it with `sudo systemctl start %s`, or point %s to its socket", to.unit, to.variable)
		if to.tokenFile != "" {
			e.Hint = "`tokenSocket:` in creel.yaml makes it; a container needs its directory; " + to.variable + " points elsewhere"
		}
	case errors.Is(err, unix.ECONNREFUSED):
		e.Message = fmt.Sprintf("no supervisor listens on %s", to.path)
		e.Hint = "it has stopped: see `systemctl status creeld` and `journalctl -u creeld`"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		e.Code = api.CodeDenied
		e.Message = fmt.Sprintf("uid %d may not connect to %s", os.Geteuid(), to.path)
		e.Hint = "add the user to the group that owns the socket (`sudo usermod -aG creel NAME`) and log in again"
		if to.admin {
			e.Hint = "run the same command with sudo"
		} else if to.tokenFile != "" {
			e.Hint = "`tokenSocket:` in creel.yaml says which group may connect"
		}
	case errors.Is(err, unix.EAGAIN):
		e.Code = api.CodeBusy
		e.Message = fmt.Sprintf("the supervisor at %s did not answer within %v", to.path, sendTimeout)
		e.Hint = "see `systemctl status creeld` and `journalctl -u creeld`"
	case errors.Is(err, unix.EINVAL):
		e.Message = fmt.Sprintf("%q cannot be a socket's path: it may be at most 107 bytes (unix(7))", to.path)
	}
	return e
}

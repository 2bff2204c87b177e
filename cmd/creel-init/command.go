package main

import (
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// waitForCommand is the child of PID 1: it waits for the job and becomes the
// command. It returns only when it could not.
func waitForCommand() error {
	// A filter and a signal mask belong to a thread, and execve must be
	// called by the one that has them.
	runtime.LockOSThread()
	if err := harden(); err != nil {
		return err
	}
	if err := lowerFileLimit(); err != nil {
		return err
	}
	conn := initproto.NewConn(controlFD)
	hello := initproto.Hello{Version: initproto.Version}
	if err := conn.Send(initproto.Frame{Type: initproto.TypeHello, Body: hello.Encode()}); err != nil {
		return err
	}
	f, err := conn.Receive(initproto.Want{Type: initproto.TypeJob, FDs: 3})
	if err != nil {
		return err
	}
	err = become(conn, f)
	if failed, ok := err.(*initproto.StartError); ok {
		body := initproto.Failed{Step: failed.Step, Errno: failed.Errno}.Encode()
		return conn.Send(initproto.Frame{Type: initproto.TypeFailed, Body: body})
	}
	return err
}

// become turns this process into the command of a job.
func become(conn *initproto.Conn, f initproto.Frame) error {
	job, err := initproto.DecodeJob(f.Body)
	if err != nil {
		return fail(initproto.StepJob, unix.EBADMSG)
	}
	// Nothing may be allocated, resolved or looked up once the filter is in
	// force: it is made for the command and need not allow it.
	image, err := newImage(job)
	if err != nil {
		return fail(initproto.StepJob, err)
	}
	if err := placeStdio(f.FDs); err != nil {
		return fail(initproto.StepStdio, err)
	}
	if job.TTY {
		if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
			return fail(initproto.StepTerminal, err)
		}
	}
	unix.Umask(0o022)
	if err := enter(job.Cwd); err != nil {
		return fail(initproto.StepChdir, err)
	}
	if err := conn.Send(initproto.Frame{Type: initproto.TypeStarted}); err != nil {
		return err
	}
	return image.execute()
}

// placeStdio makes the job's descriptors 0, 1 and 2, where they survive
// execve; those received are all above 3 and close themselves.
func placeStdio(fds []int) error {
	for to, from := range fds {
		if err := unix.Dup3(from, to, 0); err != nil {
			return err
		}
	}
	return nil
}

// enter changes into the working directory, and refuses one that is outside
// of the root or in a proc file system, however it was named: both are ways to
// a directory of the host (CVE-2024-21626).
func enter(cwd string) error {
	if err := unix.Chdir(cwd); err != nil {
		return err
	}
	here, err := unix.Getwd() // gives ENOENT for what is not under the root
	if err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(".", &fs); err != nil {
		return err
	}
	if here == "/proc" || strings.HasPrefix(here, "/proc/") || fs.Type == unix.PROC_SUPER_MAGIC {
		return unix.EACCES
	}
	return nil
}

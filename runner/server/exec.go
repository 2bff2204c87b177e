package server

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// Bounds of an exec request. The kernel's own for one argument is
// MAX_ARG_STRLEN (32 pages, execve(2)); for all of them it is a quarter of
// the stack limit and at most 6 MiB, of which the usual 2 MiB is held here.
const (
	maxArgument  = 32*4096 - 1
	maxArguments = 2 << 20
	maxName      = 255
	maxCwd       = unix.PathMax - 1
)

// serveExec owns files until the backend does.
func serveExec(ctx context.Context, c *call, request *api.Request, files []*os.File) error {
	var body api.ExecRequest
	err := decodeBody(request, &body)
	backend := c.server.options.Backend
	return serveCommand(ctx, c, &body, err, files, func(ctx context.Context, stdio Stdio, control <-chan api.Control, started func(string)) (*api.Result, error) {
		return backend.Exec(ctx, c.peer, &body, stdio, control, started)
	})
}

// serveCanary is serveExec with a canary in place of credentials.
func serveCanary(ctx context.Context, c *call, request *api.Request, files []*os.File) error {
	var body api.CanaryRequest
	err := decodeBody(request, &body)
	if err == nil {
		err = checkCanary(body.Canary)
	}
	planter, ok := c.server.options.Backend.(CanaryPlanter)
	if !ok {
		err = errNoCanaries
	}
	return serveCommand(ctx, c, &body.ExecRequest, err, files, func(ctx context.Context, stdio Stdio, control <-chan api.Control, started func(string)) (*api.Result, error) {
		return planter.ExecCanary(ctx, c.peer, &body, stdio, control, started)
	})
}

// base32Text is what a canary is made of: nobody can choose one that anything
// takes for a credential, or that changes what redaction means for a command.
var base32Text = regexp.MustCompile(`^[A-Z2-7]+$`)

func checkCanary(text string) error {
	if len(text) != api.CanaryLength || !base32Text.MatchString(text) {
		return api.BadRequest("", "a canary is %d characters of base32", api.CanaryLength)
	}
	return nil
}

// runner is one of the ways in which a backend runs a command.
type runner func(ctx context.Context, stdio Stdio, control <-chan api.Control, started func(id string)) (*api.Result, error)

// serveCommand runs a command, unless something is wrong with its request. It
// owns files until run does.
func serveCommand(ctx context.Context, c *call, body *api.ExecRequest, err error, files []*os.File, run runner) error {
	stdio := Stdio{In: files[0], Out: files[1], Err: files[2]}
	if err == nil {
		err = checkExec(body)
	}
	if err == nil {
		err = checkStdio(stdio)
	}
	if err != nil {
		stdio.Close()
		return err
	}
	queue := newControlQueue()
	ctx, stop := c.watch(ctx, queue.put)
	defer stop()
	result, err := run(ctx, stdio, queue.out, func(id string) {
		// A client that cannot be told has gone or hangs: watch sees the one,
		// and the last message fails on the other.
		if err := c.send(&api.Event{Type: api.EventStarted, ID: id}); err != nil {
			c.server.options.Log("answer uid %d: %v", c.uid, err)
		}
	})
	if err != nil {
		c.slow(err)
		return err
	}
	return c.send(&api.Event{Type: api.EventExited, Result: result})
}

// checkExec refuses what no execve(2) could take, and what could disturb a
// log or a terminal later. Its messages hold no value of the environment.
func checkExec(r *api.ExecRequest) error {
	switch {
	case len(r.Argv) == 0 || len(r.Argv[0]) == 0:
		return api.BadRequest("give it after --: creel exec -- ls -l", "there is no command")
	case r.Timeout < 0:
		return api.BadRequest("", "the timeout is negative")
	case r.Cwd != "" && (!strings.HasPrefix(r.Cwd, "/") || len(r.Cwd) > maxCwd || strings.ContainsRune(r.Cwd, 0)):
		return api.BadRequest("--cwd is an absolute path inside the sandbox", "the directory %.100q cannot be", r.Cwd)
	case !isName(r.Policy) || r.Policy == "":
		return api.BadRequest("`creel policy show NAME` shows one", "the policy name %.100q cannot be", r.Policy)
	}
	for _, word := range []struct{ what, name string }{
		{"session name", r.Session}, {"sender", r.Sender}, {"channel", r.Channel}, {"name of the call", r.Call},
	} {
		if !isName(word.name) {
			return api.BadRequest("", "the %s %.100q cannot be", word.what, word.name)
		}
	}
	total := 0
	for i, argument := range r.Argv {
		if err := checkString(argument, &total); err != "" {
			return api.BadRequest("pass large or binary data on stdin: creel exec -i", "argument %d %s", i, err)
		}
	}
	for i, variable := range r.Env {
		if err := checkString(variable, &total); err != "" {
			return api.BadRequest("pass large or binary data on stdin: creel exec -i", "environment variable %d %s", i, err)
		}
		if bytes.IndexByte(variable, '=') < 1 {
			return api.BadRequest("-e takes NAME=VALUE", "environment variable %d has no name", i)
		}
	}
	if total > maxArguments {
		return api.BadRequest("pass large data on stdin: creel exec -i",
			"arguments and environment are %d bytes, and at most %d can be", total, maxArguments)
	}
	return nil
}

// checkString says what is wrong with one string for execve, and adds what
// it takes there (its bytes, a NUL and a pointer) to total.
func checkString(s []byte, total *int) string {
	*total += len(s) + 1 + 8
	if bytes.IndexByte(s, 0) >= 0 {
		return "holds a NUL byte"
	}
	if len(s) > maxArgument {
		return fmt.Sprintf("is %d bytes, and at most %d can be", len(s), maxArgument)
	}
	return ""
}

func isName(s string) bool {
	return len(s) <= maxName && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// checkStdio refuses everything but anonymous pipes of the right direction.
// A terminal could be typed into (TIOCSTI), a socket could pass descriptors,
// a file or an O_PATH descriptor would name something outside the sandbox.
func checkStdio(stdio Stdio) error {
	for _, end := range []struct {
		name string
		file *os.File
		mode int
	}{
		{"stdin", stdio.In, unix.O_RDONLY},
		{"stdout", stdio.Out, unix.O_WRONLY},
		{"stderr", stdio.Err, unix.O_WRONLY},
	} {
		problem, err := pipeProblem(end.file, end.mode)
		if err != nil {
			return fmt.Errorf("check %s: %w", end.name, err)
		}
		if problem != "" {
			return api.BadRequest("a client makes its own pipes with pipe(2); creel does", "%s %s", end.name, problem)
		}
	}
	return nil
}

// pipefsMagic is what fstatfs(2) says of a pipe made by pipe(2); a FIFO made
// by mkfifo(3) lives in another file system.
const pipefsMagic = 0x50495045

// pipeProblem says why file is no anonymous pipe opened in mode, or "".
func pipeProblem(file *os.File, mode int) (string, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return "", err
	}
	var stat unix.Stat_t
	var fs unix.Statfs_t
	var flags int
	controlErr := raw.Control(func(fd uintptr) {
		if err = unix.Fstat(int(fd), &stat); err != nil {
			return
		}
		if err = unix.Fstatfs(int(fd), &fs); err != nil {
			return
		}
		flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0)
	})
	switch {
	case controlErr != nil:
		return "", controlErr
	case err != nil:
		return "", err
	case stat.Mode&unix.S_IFMT != unix.S_IFIFO || fs.Type != pipefsMagic:
		return "is not an anonymous pipe", nil
	case flags&unix.O_PATH != 0:
		return "is an O_PATH descriptor", nil
	case flags&unix.O_ACCMODE != mode:
		return "is the wrong end of a pipe", nil
	}
	return "", nil
}

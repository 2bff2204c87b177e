package credential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/child"
)

// helperTimeout bounds one run of a helper.
const helperTimeout = 10 * time.Second

// Exec runs helpers that print a value. A helper is root's: it and every
// directory above it are owned by root, writable by nobody else and no
// symlink. It runs as the supervisor's user with no environment at all, in /,
// with /dev/null as stdin and stderr, in a session and a PID namespace of its
// own: what it starts dies with it (pid_namespaces(7)), and it dies with the
// supervisor.
//
// The file that was checked is the file that runs, since it is executed by
// its descriptor. A script ("#!") has to be opened again by its interpreter,
// so that one descriptor, 3, stays open in it, and its $0 is
// /proc/self/fd/3; a binary inherits nothing but its stdio. The interpreter
// that a script names is trusted as the script is.
type Exec struct{ timeout time.Duration }

// NewExec returns the provider of "exec:HELPER ARG…". It takes the core limit
// of the whole process away, since a child cannot be given another one before
// it runs: a process that holds credentials must not be dumped either.
func NewExec() (*Exec, error) {
	if err := forbidCores(); err != nil {
		return nil, fmt.Errorf("forbid core dumps: %w", err)
	}
	return &Exec{timeout: helperTimeout}, nil
}

// forbidCores sets RLIMIT_CORE, soft and hard, to 1: too small for a file,
// and the value at which the kernel does not start a core_pattern program
// either, which at 0 it does (fs/coredump.c; core(5) says that pipes are not
// limited). Without the right to raise a limit of 0, that stays.
func forbidCores() error {
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1})
	if errors.Is(err, unix.EPERM) {
		return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	}
	return err
}

// Fetch runs the helper that the reference names and reads its stdout. No
// error quotes what the helper wrote.
func (e *Exec) Fetch(ctx context.Context, ask Ask) (Grant, error) {
	argv, err := splitReference(ask.Reference)
	if err != nil {
		return Grant{}, fmt.Errorf("read reference: %w", err)
	}
	helper, err := openHelper(argv[0])
	if err != nil {
		return Grant{}, fmt.Errorf("open helper: %w", err)
	}
	defer func() { _ = helper.Close() }()
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	secret, err := run(ctx, helper, argv)
	if err == nil {
		return Grant{Secret: secret}, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("run helper: killed, it may take %s at most: %w", e.timeout, ctx.Err())
	}
	return Grant{}, fmt.Errorf("%w; what it prints is not shown, for it may hold the value: to see it, run 'env -i %s' as root",
		err, strings.Join(argv, " "))
}

// splitReference splits at spaces. There is no shell, so what only a shell
// would understand is refused rather than passed on literally.
func splitReference(reference string) ([]string, error) {
	for _, r := range reference {
		switch {
		case r < ' ' || r == 0x7f:
			return nil, fmt.Errorf("control character %q is not allowed", r)
		case strings.ContainsRune("'\"\\`", r):
			return nil, fmt.Errorf("%c is not understood: arguments are separated by spaces and cannot be quoted", r)
		}
	}
	argv := strings.FieldsFunc(reference, func(r rune) bool { return r == ' ' })
	if len(argv) == 0 {
		return nil, errors.New("it names no helper")
	}
	return argv, nil
}

// run starts the helper and reads its value to the end.
func run(ctx context.Context, helper *os.File, argv []string) (Secret, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read, write, err := os.Pipe()
	if err != nil {
		return Secret{}, fmt.Errorf("make pipe: %w", err)
	}
	defer func() { _ = read.Close() }()
	cmd, err := command(ctx, helper, argv)
	if err != nil {
		_ = write.Close()
		return Secret{}, err
	}
	cmd.Stdout = write
	attr, done, err := child.Isolate(0)
	if err != nil {
		_ = write.Close()
		return Secret{}, err
	}
	defer done()
	cmd.SysProcAttr = attr
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return Secret{}, fmt.Errorf("start helper: %w", err)
	}
	// A pipe end that escaped the helper's namespace must not keep this
	// waiting after the end of the time.
	stop := context.AfterFunc(ctx, func() { _ = read.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, readErr := readAll(read.Read)
	if readErr != nil {
		cancel() // ends a helper that still runs, such as one that prints on and on
	}
	waitErr := cmd.Wait()
	if readErr != nil {
		return Secret{}, readErr
	}
	if waitErr != nil {
		raw.Free()
		return Secret{}, fmt.Errorf("run helper: %w", waitErr)
	}
	return newValue(raw)
}

// command prepares the helper's process.
func command(ctx context.Context, helper *os.File, argv []string) (*exec.Cmd, error) {
	script, err := isScript(helper)
	if err != nil {
		return nil, fmt.Errorf("read helper: %w", err)
	}
	path := fmt.Sprintf("/proc/self/fd/%d", helper.Fd())
	if script {
		path = "/proc/self/fd/3"
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = argv
	cmd.Env = []string{} // nil would mean this process's own
	cmd.Dir = "/"
	if script {
		cmd.ExtraFiles = []*os.File{helper}
	}
	return cmd, nil
}

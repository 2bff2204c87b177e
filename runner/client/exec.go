package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// brokenGrace is how long a command may go on after its stdout has lost its
// reader. It gets SIGPIPE or EPIPE when it writes, as in any pipeline; one
// that ignores both is ended with its caller.
const brokenGrace = time.Second

// lostGrace is how long output may still be read when the supervisor is gone.
const lostGrace = 200 * time.Millisecond

// ErrStdoutClosed says that nobody reads Stdout any more (EPIPE), and that
// the command, which went on, was left to be ended.
var ErrStdoutClosed = errors.New("stdout is closed")

// Exec is one command to run.
type Exec struct {
	Request api.ExecRequest
	// Stdin is copied to the command until either ends; nil is empty. A read
	// that blocks may outlive Run, as in os/exec.
	Stdin io.Reader
	// Stdout and Stderr take the output; nil drops it. When they are equal
	// the command writes both to one pipe, and their order is kept. Output to
	// an *os.File is spliced, without a copy in this process.
	Stdout, Stderr io.Writer
	// Control is forwarded to the command; it may be nil.
	Control <-chan api.Control
	// Ready is called when the supervisor has been asked, and may wait for
	// what must be ready before anybody hears of the command: its output is
	// read, and Started called, after that. It may be nil.
	Ready func()
	// Started is called when the command runs; it may be nil.
	Started func(id string)
}

// Exec runs one command to its end and returns how it ended, after all its
// output was written. A command's own failure is no error here. When ctx
// ends first, the command is left to the supervisor to end, and the error is
// ctx's cause.
func (c *Client) Exec(ctx context.Context, e *Exec) (*api.Result, error) {
	return execute(ctx, e, c.execSocket(), api.RouteExec, &e.Request)
}

// ExecCanary is Exec with a canary in place of each credential of the policy;
// it is for root.
func (c *Client) ExecCanary(ctx context.Context, e *Exec, canary string) (*api.Result, error) {
	return execute(ctx, e, c.adminSocket(), api.RouteCanary, &api.CanaryRequest{ExecRequest: e.Request, Canary: canary})
}

func execute(ctx context.Context, e *Exec, to socket, route string, body any) (*api.Result, error) {
	pipes, err := newPipes(e.Stdin != nil, same(e.Stdout, e.Stderr))
	if err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	defer pipes.close()
	conn, done, err := request(ctx, to, route, body, pipes.theirs[:]...)
	pipes.closeTheirs()
	if err != nil {
		return nil, err
	}
	defer done()
	if e.Ready != nil {
		e.Ready()
	}
	r := &run{exec: e, conn: conn, pipes: pipes, tasks: newTasks(conn)}
	defer r.tasks.end()
	r.start()
	result, err := r.follow(ctx)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// same reports whether two writers are equal; some cannot be compared.
func same(a, b io.Writer) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.TypeOf(a).Comparable() && a == b
}

// run is one Exec under way.
type run struct {
	exec    *Exec
	conn    *api.Conn
	pipes   *pipes
	tasks   *tasks
	outputs chan error // one for each stream, nil at its end
	streams int        // of outputs not yet ended
	started bool       // the command runs, or has run
}

func (r *run) start() {
	r.outputs = make(chan error, 2)
	if r.pipes.stdin != nil {
		r.tasks.run(func() error { return feed(r.pipes.stdin, r.exec.Stdin) })
	}
	r.output("stdout", r.exec.Stdout, r.pipes.stdout)
	if r.pipes.stderr != nil {
		r.output("stderr", r.exec.Stderr, r.pipes.stderr)
	}
	if r.exec.Control != nil {
		r.tasks.run(r.forward)
	}
}

func (r *run) output(name string, to io.Writer, from *pipeEnd) {
	r.streams++
	r.tasks.run(func() error {
		err := drain(to, from)
		if err == nil {
			r.outputs <- nil
			return nil
		}
		from.Close() // the command's next write fails, as ours did
		err = &OutputError{Stream: name, Err: err}
		r.outputs <- err
		return r.broken(err)
	})
}

// broken gives a command whose output cannot be written a last while, and
// returns what ends the run then. A broken stderr is the command's to bear.
func (r *run) broken(err error) error {
	var output *OutputError
	closed := errors.Is(err, unix.EPIPE)
	if closed && errors.As(err, &output) && output.Stream != "stdout" {
		return nil
	}
	select {
	case <-time.After(brokenGrace):
	case <-r.tasks.done:
		return nil
	}
	if closed {
		return ErrStdoutClosed
	}
	return err
}

// forward sends control messages. A failure to send shows as a lost
// connection to follow.
func (r *run) forward() error {
	for {
		select {
		case control, ok := <-r.exec.Control:
			if !ok || r.conn.Send(control) != nil {
				return nil
			}
		case <-r.tasks.done:
			return nil
		}
	}
}

// OutputError says that output could not be written, and is lost.
type OutputError struct {
	Stream string // stdout or stderr
	Err    error
}

func (e *OutputError) Error() string { return fmt.Sprintf("write %s: %v", e.Stream, e.Err) }

// Unwrap returns the cause.
func (e *OutputError) Unwrap() error { return e.Err }

// follow reads what the supervisor tells to its last event, and then waits
// for the end of the output. A task that fails, or ctx, ends it early.
func (r *run) follow(ctx context.Context) (result *api.Result, err error) {
	for result == nil {
		event, err := receive(ctx, r.conn)
		if failed := r.tasks.failure(); failed != nil {
			return nil, failed
		}
		if err != nil {
			if ctx.Err() == nil {
				r.drainBriefly()
			}
			return nil, err
		}
		if result, err = r.event(event); err != nil {
			return nil, err
		}
	}
	for ; r.streams > 0; r.streams-- {
		select {
		case outputErr := <-r.outputs:
			if outputErr != nil && !errors.Is(outputErr, unix.EPIPE) {
				err = outputErr
			}
		case <-r.tasks.failed:
			return nil, r.tasks.failure()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return result, err
}

func (r *run) event(e *api.Event) (*api.Result, error) {
	switch {
	case e.Type == api.EventStarted && !r.started:
		r.started = true
		if r.exec.Started != nil {
			r.exec.Started(e.ID)
		}
		return nil, nil
	case e.Type == api.EventExited && e.Result != nil:
		return e.Result, nil
	default:
		return nil, errUnexpected(e.Type)
	}
}

// drainBriefly writes out what had come before the supervisor was lost or
// refused. Whoever still holds the pipes is not waited for.
func (r *run) drainBriefly() {
	r.pipes.expire(time.Now().Add(lostGrace))
	limit := time.After(2 * lostGrace) // for an output that takes no more
	for ; r.streams > 0; r.streams-- {
		select {
		case <-r.outputs:
		case <-limit:
			return
		}
	}
}

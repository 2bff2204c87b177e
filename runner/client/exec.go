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
	// Started is called when the command runs; it may be nil.
	Started func(id string)
}

// Exec runs one command to its end and returns how it ended, after all its
// output was written. A command's own failure is no error here. When ctx
// ends first, the command is left to the supervisor to end, and the error is
// ctx's cause.
func (c *Client) Exec(ctx context.Context, e *Exec) (*api.Result, error) {
	pipes, err := newPipes(same(e.Stdout, e.Stderr))
	if err != nil {
		return nil, fmt.Errorf("make pipes: %w", err)
	}
	defer pipes.close()
	conn, done, err := request(ctx, c.execSocket(), api.RouteExec, e.Request, pipes.theirs[:]...)
	pipes.closeTheirs()
	if err != nil {
		return nil, err
	}
	defer done()
	r := &run{exec: e, conn: conn, pipes: pipes, tasks: newTasks()}
	r.start(ctx)
	result, err := r.wait(ctx)
	if err != nil {
		return nil, err
	}
	return result, nil
}

// same reports whether two writers are equal; some cannot be compared.
func same(a, b io.Writer) bool {
	return a != nil && b != nil && reflect.TypeOf(a).Comparable() && a == b
}

// run is one Exec under way.
type run struct {
	exec  *Exec
	conn  *api.Conn
	pipes *pipes
	tasks *tasks

	input   chan error // stdin could not be read
	outputs chan error // one for each stream, nil at its end
	streams int        // of outputs not yet ended
	started bool       // the command runs, or has run
	events  chan event
}

type event struct {
	*api.Event
	err error
}

func (r *run) start(ctx context.Context) {
	r.input, r.outputs, r.events = make(chan error, 1), make(chan error, 2), make(chan event)
	if r.exec.Stdin == nil {
		r.pipes.stdin.Close()
	} else {
		r.tasks.run(func() { r.input <- feed(r.pipes.stdin, r.exec.Stdin) })
	}
	r.output("stdout", r.exec.Stdout, r.pipes.stdout)
	if r.pipes.stderr != nil {
		r.output("stderr", r.exec.Stderr, r.pipes.stderr)
	}
	r.tasks.run(func() { r.receive(ctx) })
	if r.exec.Control != nil {
		r.tasks.run(r.forward)
	}
}

func (r *run) output(name string, to io.Writer, from *pipeEnd) {
	r.streams++
	r.tasks.run(func() {
		err := drain(to, from)
		if err != nil {
			from.Close() // the command's next write fails, as ours did
			err = &OutputError{Stream: name, Err: err}
		}
		r.outputs <- err
	})
}

func (r *run) receive(ctx context.Context) {
	for {
		got, err := receive(ctx, r.conn)
		select {
		case r.events <- event{got, err}:
		case <-r.tasks.done:
			return
		}
		if err != nil || got.Type == api.EventExited {
			return
		}
	}
}

// forward sends control messages. A failure to send shows as a lost
// connection to receive.
func (r *run) forward() {
	for {
		select {
		case control, ok := <-r.exec.Control:
			if !ok {
				return
			}
			if r.conn.Send(control) != nil {
				return
			}
		case <-r.tasks.done:
			return
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

// wait follows the command to its last event and its output to the end.
func (r *run) wait(ctx context.Context) (*api.Result, error) {
	defer r.tasks.end()
	var result *api.Result
	var outputErr error
	var broken <-chan time.Time
	for result == nil || r.streams > 0 {
		select {
		case got := <-r.events:
			if got.err != nil {
				r.drainBriefly()
				return nil, got.err
			}
			done, err := r.event(got.Event)
			if err != nil {
				return nil, err
			}
			if done != nil {
				result = done
			}
		case err := <-r.outputs:
			r.streams--
			if err == nil || errors.Is(err, unix.EPIPE) {
				broken = brokenTimer(broken, err)
				continue
			}
			outputErr = err
			broken = time.After(brokenGrace)
		case err := <-r.input:
			if err != nil {
				return nil, err
			}
		case <-broken:
			if outputErr != nil {
				return nil, outputErr
			}
			return nil, ErrStdoutClosed
		case p := <-r.tasks.panics:
			panic(p)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return result, outputErr
}

// brokenTimer starts at the first broken stdout; a broken stderr is the
// command's to bear.
func brokenTimer(running <-chan time.Time, err error) <-chan time.Time {
	var output *OutputError
	if running == nil && errors.As(err, &output) && output.Stream == "stdout" {
		return time.After(brokenGrace)
	}
	return running
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

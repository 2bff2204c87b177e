package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/credential/redact"
	"github.com/creel-sandbox/creel/runner/registers"
)

// output connects the command's stdout and stderr with the caller's pipes.
// Where nothing is limited, kept or redacted the command gets the caller's
// own pipes and no byte passes through the supervisor; else each stream is
// moved by a goroutine through what the policy asks for.
type output struct {
	// stdio are the descriptors for the command; they are closed here once the
	// job has been sent.
	stdio   [3]*os.File
	matcher *redact.Matcher
	// left is how many bytes the two streams together may still write.
	left    atomic.Int64
	limited bool
	exceed  func()
	copies  sync.WaitGroup
	// cuttable says that the streams can be ended while something still holds
	// them, and sources are what they are read from then.
	cuttable bool
	isCut    atomic.Bool
	sources  []*os.File
	// callers are the caller's ends, closed when their stream is done.
	callers []*os.File
}

func (s *Supervisor) connectOutput(_ context.Context, inv *invocation) (err error) {
	out := &output{limited: inv.policy.Limits.Output > 0, exceed: func() { inv.stop(api.ReasonOutputLimit) }, cuttable: inv.lingers()}
	out.left.Store(inv.policy.Limits.Output)
	out.stdio = [3]*os.File{inv.stdio.In, inv.stdio.Out, inv.stdio.Err}
	inv.output = out
	defer func() {
		if err != nil {
			out.close()
		}
	}()
	if out.limited || out.cuttable || inv.policy.Logs.Keep > 0 || len(inv.secrets) > 0 || inv.agent != nil {
		out.matcher, err = credential.NewMatcher(inv.secrets)
		registers.Clear()
		if err != nil {
			return err
		}
		if err := out.interpose(inv); err != nil {
			return err
		}
	}
	return out.chown(inv)
}

// interpose gives the command pipes of the supervisor's own and moves what
// comes out of them to the caller's. Where the caller gave one pipe for both
// streams the command gets one too, so that their order is kept.
func (o *output) interpose(inv *invocation) (err error) {
	shared := false
	if inv.agent == nil {
		if shared, err = samePipe(inv.stdio.Out, inv.stdio.Err); err != nil {
			return err
		}
	}
	if o.stdio[1], err = o.stream(inv, "stdout", inv.stdio.Out); err != nil {
		return err
	}
	if !shared {
		o.stdio[2], err = o.stream(inv, "stderr", inv.stdio.Err)
		return err
	}
	o.stdio[2] = o.stdio[1]
	return inv.stdio.Err.Close()
}

func samePipe(a, b *os.File) (bool, error) {
	ours, err := a.Stat()
	if err != nil {
		return false, fmt.Errorf("stat pipe: %w", err)
	}
	theirs, err := b.Stat()
	if err != nil {
		return false, fmt.Errorf("stat pipe: %w", err)
	}
	return os.SameFile(ours, theirs), nil
}

// stream makes the pipe that the command writes to, and takes over the
// caller's. An agent has no caller: what is not kept of its output is dropped.
func (o *output) stream(inv *invocation, name string, caller *os.File) (*os.File, error) {
	buffer, err := copyBuffer(inv)
	if err != nil {
		return nil, err
	}
	from, command, err := os.Pipe()
	if err != nil {
		buffer.Free()
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	var to *os.File
	if caller != nil {
		if to, err = pollable(caller); err != nil {
			buffer.Free()
			from.Close()
			command.Close()
			return nil, err
		}
		caller.Close() // so that closing the one opened anew is the end of the stream
		o.callers = append(o.callers, to)
	}
	o.sources = append(o.sources, from)
	o.copies.Add(1)
	go o.move(from, to, name, inv, buffer)
	return command, nil
}

// copySize is how much of a stream is moved at once, in bytes; as io.Copy does.
const copySize = 32 << 10

// copyBuffer is what a stream is read into before it is redacted: locked, for
// it holds what the command prints of its credentials. Without any it is nil.
func copyBuffer(inv *invocation) (*locked.Buffer, error) {
	if len(inv.secrets) == 0 {
		return nil, nil
	}
	return locked.New(copySize)
}

// pollable opens the caller's pipe anew, so that a write ends when what it
// gives is closed. A duplicate would share the O_NONBLOCK that this needs with
// the caller, who could clear it and hold a thread of the supervisor, and with
// it the end of the invocation, for as long as it likes (fcntl(2), F_SETFL).
func pollable(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("use pipe: %w", err)
	}
	fd := -1
	controlErr := raw.Control(func(number uintptr) {
		fd, err = unix.Open(fmt.Sprintf("/proc/self/fd/%d", number), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err := errors.Join(controlErr, err); err != nil {
		return nil, fmt.Errorf("open pipe anew: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// chown lets the command open /dev/stdout and its like, which go through
// /proc/self/fd and so need the pipe to be its own (proc(5)).
func (o *output) chown(inv *invocation) error {
	for _, f := range o.stdio {
		if err := f.Chown(int(inv.who.UID), int(inv.who.GID)); err != nil {
			return fmt.Errorf("give pipe to the sandbox's user: %w", err)
		}
	}
	return nil
}

// move copies one stream to its end. Redaction comes before anything else
// sees the bytes: the kept logs never hold a credential.
func (o *output) move(from, to *os.File, name string, inv *invocation, buffer *locked.Buffer) {
	defer o.copies.Done()
	defer buffer.Free()
	defer from.Close()
	sink := io.Discard
	switch keep := inv.policy.Logs.Keep > 0; {
	case to != nil && keep:
		sink = io.MultiWriter(to, inv.logs.stream(name))
	case to != nil:
		sink = to
	case keep:
		sink = inv.logs.stream(name)
	}
	if to != nil {
		defer to.Close()
	}
	if buffer == nil {
		o.copy(sink, from)
		return
	}
	redactor := redact.NewRedactor(forgetful{sink}, o.matcher)
	o.redact(redactor, from, buffer.Bytes())
	// An error says that the caller is gone: there is nobody to tell.
	if reason := inv.stopped(); reason == "" || reason == api.ReasonExited {
		_ = redactor.Close()
	} else {
		_ = redactor.Cut()
	}
}

// copy ends when the command has closed its end, the limit is reached, or
// the caller has closed its own: then the command's next write fails as it
// would in a pipeline.
func (o *output) copy(to io.Writer, from *os.File) {
	_, _ = io.Copy(to, o.bounded(from)) // an error is the caller's end, closed
}

func (o *output) bounded(source stream) io.Reader {
	var from io.Reader = source
	if file, ok := source.(*os.File); ok && o.cuttable {
		from = &cutReader{file: file, output: o}
	}
	if o.limited {
		return &limitReader{from: from, output: o}
	}
	return from
}

// stillness is how long a stream says nothing before what is held back of it
// is shown, where that is hardly anything of a credential: longer than programs
// pause within a line, shorter than somebody looks at half a prompt.
const stillness = time.Second

// stream is what a command writes to: a pipe (os.File, SetReadDeadline).
type stream interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// redact is copy for a command that has credentials: what it prints of them is
// in the buffer alone, and not for long.
func (o *output) redact(redactor *redact.Redactor, from stream, buffer []byte) {
	bounded, still := o.bounded(from), false
	for {
		waits := redactor.Holds() && !still
		if waits && from.SetReadDeadline(time.Now().Add(stillness)) != nil {
			return
		}
		n, err := bounded.Read(buffer)
		if still = waits && errors.Is(err, os.ErrDeadlineExceeded); still {
			err = redactor.Lull()
		}
		if waits {
			err = cmp.Or(err, from.SetReadDeadline(time.Time{}))
		}
		if n > 0 {
			_, writeErr := redactor.Write(buffer[:n])
			locked.Zero(buffer[:n])
			err = cmp.Or(err, writeErr)
		}
		registers.Clear()
		if err != nil {
			return
		}
	}
}

// forgetful is where a redactor writes to, which may wait.
type forgetful struct{ io.Writer }

func (w forgetful) Write(p []byte) (int, error) {
	registers.Clear()
	return w.Writer.Write(p)
}

// limitReader counts against the limit that stdout and stderr share.
type limitReader struct {
	from   io.Reader
	output *output
}

func (r *limitReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if left := r.output.left.Add(-int64(n)); left < 0 {
		r.output.exceed()
		return max(0, n+int(left)), io.EOF
	}
	return n, err
}

// release closes the descriptors that the command has by now, so that its
// end is seen as end of file.
func (o *output) release() {
	for _, f := range o.stdio {
		if f != nil {
			f.Close()
		}
	}
}

// drainGrace is how long a caller gets to read the rest of the output of a
// sandbox that was killed or reached a limit.
const drainGrace = time.Second

// drain returns once all that the command wrote has reached the caller, or
// the caller is gone. A caller that does not read, and for whom nothing waits
// any more because the sandbox was ended for it, is not waited for.
func (o *output) drain(gone, abandoned <-chan struct{}) {
	drained := make(chan struct{})
	go func() {
		o.copies.Wait()
		close(drained)
	}()
	select {
	case <-drained:
		return
	case <-gone:
		return
	case <-abandoned:
	}
	grace := time.NewTimer(drainGrace)
	defer grace.Stop()
	select {
	case <-drained:
	case <-gone:
	case <-grace.C:
	}
}

func (o *output) close() {
	o.release()
	for _, f := range o.callers {
		f.Close()
	}
	o.copies.Wait()
	if o.matcher != nil {
		o.matcher.Destroy()
	}
}

func (s *Supervisor) closeOutput(inv *invocation) error {
	inv.output.close()
	return nil
}

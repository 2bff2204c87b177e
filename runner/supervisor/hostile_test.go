package supervisor

import (
	"context"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/server"
)

// A duplicate that a caller keeps shares its flags with the descriptor that it
// sent. One without O_NONBLOCK would hold whoever writes to it.
func TestCallerThatMakesItsPipeBlockingHoldsNothingUp(t *testing.T) {
	r := newRig(t, options{policy: "logs: {keep: 64KiB}"})
	stdio, in, out, errs := pipes(t)
	defer in.Close()
	defer errs.Close()
	kept, err := unix.Dup(int(stdio.Out.Fd()))
	check(t, err)
	t.Cleanup(func() { // before the rig's, which would wait for ever
		unix.Close(kept)
		out.Close()
	})
	ctx, gone := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.Exec(ctx, server.Peer{}, shell("read go; exec head -c 1000000 /dev/zero"), stdio, nil, func(string) {
			if err := unix.SetNonblock(kept, false); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(in, "go\n")
		})
	}()
	r.eventually("the pipe is full", func() bool {
		waiting, err := unix.IoctlGetInt(kept, unix.TIOCINQ) // FIONREAD, pipe(7)
		check(t, err)
		return waiting == 64<<10
	})
	gone(server.ErrCallerGone)
	<-done
	r.settle()
}

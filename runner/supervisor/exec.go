package supervisor

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/pidfd"
	"github.com/creel-sandbox/creel/runner/server"
)

// Exec implements server.Backend: it runs one invocation to its end. When it
// returns no process of the sandbox is left; what else there was of it is
// taken away right after, off the caller's path.
func (s *Supervisor) Exec(ctx context.Context, peer server.Peer, req *api.ExecRequest, stdio server.Stdio,
	control <-chan api.Control, started func(id string)) (*api.Result, error) {
	defer s.lull.enter()()
	inv, err := s.admit(peer, req, stdio)
	return s.run(ctx, inv, err, peer, stdio, control, started)
}

// run is what Exec does once it has an invocation, or the reason why there is
// none.
func (s *Supervisor) run(ctx context.Context, inv *invocation, err error, peer server.Peer, stdio server.Stdio,
	control <-chan api.Control, started func(id string)) (*api.Result, error) {
	if err == nil {
		err = s.reachGateway(ctx, inv)
	}
	if err == nil {
		w := s.take(ctx, inv)
		if err = s.enter(inv, w); err != nil && w != nil {
			w.stop(api.ReasonStopped) // whoever watches it takes it away
		}
	}
	if err != nil {
		stdio.Close()
		s.cfg.Log.WithField("caller", s.callerOf(peer)).WithError(err).Info("refused an invocation")
		return nil, err
	}
	defer func() { go s.finish(inv) }()

	var exit initproto.Exit
	switch err = s.launch(ctx, inv); {
	case err == nil:
		started(inv.id)
		exit, err = s.attend(ctx, inv, control)
	case !stoppedAmidStart(ctx, inv):
		return s.launchFailed(inv, err)
	}
	return s.conclude(inv, exit, err, ctx.Done()), nil
}

// stoppedAmidStart reports whether a launch that failed was stopped once its
// init had all that the command needs. That may run by then, for what its init
// says of it comes later: it has ended as others do that are stopped.
func stoppedAmidStart(ctx context.Context, inv *invocation) bool {
	if ctx.Err() != nil && (inv.begun || goneReason(ctx) == api.ReasonTokenEnded) { // which is to be told
		inv.stop(goneReason(ctx))
	}
	return inv.begun && inv.stopped() != ""
}

// conclude sees a command that has ended, or is to, to the end of its last
// process, unless those are to outlive it, and of its output, for which a caller
// waits until it is gone.
func (s *Supervisor) conclude(inv *invocation, exit initproto.Exit, err error, gone <-chan struct{}) *api.Result {
	if inv.outlived = err == nil && inv.lingers() && inv.stopped() == ""; inv.outlived {
		inv.setState(stateBackground)
		inv.output.cut()
	} else {
		s.stopExited(inv)
	}
	inv.output.drain(gone, inv.abandoned)
	result := s.result(inv, exit, err)
	inv.mu.Lock()
	inv.result = result
	inv.mu.Unlock()
	what := "invocation ended"
	if inv.agent != nil {
		what = "agent ended"
	}
	inv.report = func() {
		s.logOf(inv).WithFields(logrus.Fields{"reason": result.Reason, "exit": result.ExitCode}).Info(what)
	}
	return result
}

// stopExited ends what is left of a sandbox whose command has ended.
func (s *Supervisor) stopExited(inv *invocation) {
	inv.setState("ending")
	inv.stop(api.ReasonExited)
	s.awaitInit(inv)
}

// awaitInit waits for the init's end, which is the end of every process in the
// sandbox, and so of every writer to its pipes.
func (s *Supervisor) awaitInit(inv *invocation) {
	if err := pidfd.Wait(inv.sandbox.Pidfd); err != nil {
		s.cfg.Log.WithField("sandbox", inv.id).WithError(err).Error("waiting for the init failed")
	}
}

// end tells the log of an invocation and takes away what is left of it.
func (s *Supervisor) end(inv *invocation) {
	inv.logs.close()
	inv.report()
	inv.stdio.Close() // where no step took it over; closing twice does no harm
	inv.dropPrefetch()
	s.unwind(inv)
	s.searchLater(inv)
	inv.setState("ended")
	inv.forget()
	s.leave(inv)
}

// launchFailed gives the caller the reason; that of whoever stopped the
// launch comes first.
func (s *Supervisor) launchFailed(inv *invocation, err error) (*api.Result, error) {
	told := explain(inv, err)
	switch reason := inv.stopped(); reason {
	case api.ReasonStopped:
		told = ErrClosed
	case api.ReasonTokenEnded:
		told = &api.Error{Code: reason, Message: "the caller's token ended before the command started", ExitCode: api.ExitFailed}
	case api.ReasonKilled:
		told = &api.Error{Code: api.ReasonKilled, Message: "killed by an operator before the command started", ExitCode: api.ExitFailed}
	}
	result := &api.Result{ID: inv.id, Policy: inv.policy.Name, ExitCode: told.ExitCode, Reason: told.Code, StartedAt: inv.created}
	inv.mu.Lock()
	inv.result = result
	inv.mu.Unlock()
	log := s.logOf(inv).WithField("code", told.Code)
	if inv.output == nil { // from then on an error can name the command or its directory
		log = log.WithError(err)
	}
	inv.report = func() { log.Warn("launch failed") }
	return nil, told
}

// attend waits for the command's end and acts on what happens meanwhile.
func (s *Supervisor) attend(ctx context.Context, inv *invocation, control <-chan api.Control) (initproto.Exit, error) {
	ended := inv.await()
	limit, stopTimer := timeLimit(inv)
	defer stopTimer()
	gone := ctx.Done()
	expired, warned := inv.expiries()
	for {
		select {
		case e := <-ended:
			return e.exit, e.err
		case <-limit:
			inv.stop(api.ReasonTimeout)
		case <-expired:
			s.tellExpired(inv, "is ended")
			inv.stop(api.ReasonExpired)
			expired = nil
		case <-warned:
			s.tellExpired(inv, "goes on without them")
			warned = nil
		case <-gone:
			inv.stop(goneReason(ctx))
			gone = nil
		case c := <-control:
			s.control(inv, c)
		}
	}
}

// goneReason says why a caller's context has ended.
func goneReason(ctx context.Context) string {
	if errors.Is(context.Cause(ctx), server.ErrTokenEnded) {
		return api.ReasonTokenEnded
	}
	return api.ReasonCallerGone
}

// ending is how a command ended, as its init reported it.
type ending struct {
	exit initproto.Exit
	err  error
}

// await tells, once, how the command ended.
func (inv *invocation) await() <-chan ending {
	ended := make(chan ending, 1)
	go func() {
		exit, err := inv.session.Wait()
		ended <- ending{exit, err}
	}()
	return ended
}

// timeLimit is the shorter of the policy's limit and the caller's.
func timeLimit(inv *invocation) (<-chan time.Time, func()) {
	limit := inv.policy.Limits.Timeout
	if asked := inv.req.Timeout; asked > 0 && (limit == 0 || asked < limit) {
		limit = asked
	}
	if limit == 0 {
		return nil, func() {}
	}
	timer := time.NewTimer(limit)
	return timer.C, func() { timer.Stop() }
}

// control passes a signal or a new terminal size on. That the command has
// just ended is no error: its end is on its way.
func (s *Supervisor) control(inv *invocation, c api.Control) {
	var err error
	switch {
	case c.Resize != nil:
		err = inv.session.Resize(c.Resize.Rows, c.Resize.Cols)
	case c.Signal != 0:
		err = inv.session.Signal(c.Signal)
	}
	if err != nil {
		s.cfg.Log.WithField("sandbox", inv.id).WithError(err).Debug("control was not delivered")
	}
}

// result says how the invocation ended. A reason somebody stopped it for
// comes before what the command reported.
func (s *Supervisor) result(inv *invocation, exit initproto.Exit, err error) *api.Result {
	r := &api.Result{
		ID: inv.id, Policy: inv.policy.Name, StartedAt: inv.created,
		Wall: time.Since(inv.launched), Launch: inv.launched.Sub(inv.created),
		UserCPU: exit.UserCPU, SystemCPU: exit.SystemCPU, MaxRSS: exit.MaxRSS,
	}
	switch stopped := inv.stopped(); {
	case stopped == api.ReasonTimeout:
		r.Reason, r.ExitCode, r.Signal = stopped, api.ExitTimeout, int(unix.SIGKILL)
	case stopped != "" && stopped != api.ReasonExited:
		r.Reason, r.ExitCode, r.Signal = stopped, api.ExitSignal+int(unix.SIGKILL), int(unix.SIGKILL)
	case err == nil && exit.Signal == 0:
		r.Reason, r.ExitCode = api.ReasonExited, exit.Code
	case err == nil:
		r.Reason, r.ExitCode, r.Signal = api.ReasonSignaled, api.ExitSignal+exit.Signal, exit.Signal
	default: // the init ended without a report, and no process in its sandbox can end it (pid_namespaces(7))
		r.Reason, r.ExitCode, r.Signal = api.ReasonLost, api.ExitSignal+int(unix.SIGKILL), int(unix.SIGKILL)
	}
	if (r.Reason == api.ReasonSignaled || r.Reason == api.ReasonLost) && r.Signal == int(unix.SIGKILL) && inv.outOfMemory() {
		r.Reason = api.ReasonOOM
	}
	if err != nil && !errors.Is(err, initproto.ErrGone) && !errors.Is(err, net.ErrClosed) { // by stop
		s.cfg.Log.WithField("sandbox", inv.id).WithError(err).Warn("the init broke the protocol")
	}
	return r
}

func (inv *invocation) outOfMemory() bool {
	usage, err := inv.usage()
	return err == nil && usage.OOMKills > 0
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/image"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// launchTimeout bounds all steps together. A launch takes some 20 ms; the
// slowest honest part is a credential helper.
const launchTimeout = 60 * time.Second

// step is one named part of a launch. do either succeeds or leaves nothing;
// undo takes away what do made, and runs when a later step fails or when the
// invocation ends.
type step struct {
	name string
	// ahead says that the step needs nothing of a command, so the pool may
	// have done it before there is one.
	ahead bool
	do    func(*Supervisor, context.Context, *invocation) error
	undo  func(*Supervisor, *invocation) error
}

// launchSteps in their order, which matters:
// the root is opened, and the session joined, before anything is made from them;
// creel-init is greeted
// before its posture is read, since it makes its listeners then;
// the posture holds before any credential is fetched, so that a weaker
// sandbox never costs a secret; workspaces are searched before too, and as
// late as that, since others may write them; and the job, which starts the
// command, is last.
var launchSteps = []step{
	{"open root", true, (*Supervisor).openRoot, (*Supervisor).closeRoot},
	{"join session", true, (*Supervisor).joinSession, (*Supervisor).leaveSession},
	{"create sandbox", true, (*Supervisor).createSandbox, (*Supervisor).removeSandbox},
	{"greet init", true, (*Supervisor).greetInit, (*Supervisor).dismissInit},
	{"compare posture", true, (*Supervisor).comparePosture, nil},
	{"serve network", true, (*Supervisor).serveNetwork, (*Supervisor).stopNetwork},
	{"search workspaces", false, (*Supervisor).searchWorkspaces, nil},
	{"fetch credentials", false, (*Supervisor).fetchCredentials, (*Supervisor).dropCredentials},
	{"connect output", false, (*Supervisor).connectOutput, (*Supervisor).closeOutput},
	{"start command", false, (*Supervisor).startCommand, nil},
}

// launch runs the steps that are still to do. When one fails the caller
// unwinds what was done.
func (s *Supervisor) launch(ctx context.Context, inv *invocation) error {
	if len(inv.done) == 0 {
		if err := s.turn(ctx, inv); err != nil {
			return err
		}
		err := s.runSteps(ctx, inv, true)
		<-s.launches
		if err != nil {
			return err
		}
	}
	return s.runSteps(ctx, inv, false)
}

// turn waits until the invocation may be launched: not too many are at once.
// Whoever returns without an error must take one value from s.launches.
func (s *Supervisor) turn(ctx context.Context, inv *invocation) error {
	timer := time.NewTimer(launchWait)
	defer timer.Stop()
	select {
	case s.launches <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-inv.abandoned:
		return context.Canceled // launchFailed says who stopped it
	case <-timer.C:
		return &api.Error{Code: api.CodeBusy, Message: "too many commands are waiting to be started", ExitCode: api.ExitFailed,
			Hint: "wait for some to end; creel ps lists them"}
	}
}

// runSteps runs those steps that can be done ahead of a command, or the others.
func (s *Supervisor) runSteps(ctx context.Context, inv *invocation, ahead bool) error {
	ctx, cancel := context.WithTimeout(ctx, launchTimeout)
	defer cancel()
	inv.mu.Lock()
	inv.cancel = cancel
	if inv.reason != "" { // stopped before it could be cancelled
		cancel()
	}
	inv.mu.Unlock()
	for _, step := range launchSteps {
		if step.ahead != ahead {
			continue
		}
		began := time.Now()
		if err := step.do(s, ctx, inv); err != nil {
			return &launchError{step: step.name, err: err}
		}
		inv.mu.Lock()
		inv.done = append(inv.done, step)
		inv.timings = append(inv.timings, fmt.Sprintf("%s: %s", step.name, time.Since(began).Round(time.Microsecond)))
		inv.mu.Unlock()
	}
	return nil
}

// unwind undoes the steps that were done, last first. An undo that fails
// does not keep the others from running.
func (s *Supervisor) unwind(inv *invocation) {
	s.undo(inv, inv.done)
	inv.done = nil
}

// unwindCommand undoes the steps that were for the command, and none of those
// that its sandbox still needs.
func (s *Supervisor) unwindCommand(inv *invocation) {
	var ahead, others []step
	for _, step := range inv.done {
		if step.ahead {
			ahead = append(ahead, step)
		} else {
			others = append(others, step)
		}
	}
	s.undo(inv, others)
	inv.done = ahead
}

func (s *Supervisor) undo(inv *invocation, steps []step) {
	for _, step := range slices.Backward(steps) {
		if step.undo == nil {
			continue
		}
		if err := step.undo(s, inv); err != nil {
			s.cfg.Log.WithFields(map[string]any{"sandbox": inv.id, "step": step.name}).
				WithError(err).Error("undo of a launch step failed")
		}
	}
}

// launchError says in which step a launch failed.
type launchError struct {
	step string
	err  error
}

func (e *launchError) Error() string { return e.step + ": " + e.err.Error() }
func (e *launchError) Unwrap() error { return e.err }

// explain turns a failed launch into what the caller is told.
func explain(inv *invocation, err error) *api.Error {
	var asked *api.Error
	if errors.As(err, &asked) {
		return asked
	}
	out := &api.Error{Code: "launch-failed", Message: err.Error(), ExitCode: api.ExitFailed,
		Hint: "creel doctor tells what this host lacks"}
	var source *rootfs.SourceError
	if errors.As(err, &source) {
		out.Code = "bad-source"
		out.Message = fmt.Sprintf("policy %s: %v", inv.policy.Name, source)
		out.Hint = "create the directory, or correct 'source:' in the policy; a path through a symlink is refused"
	}
	var missing *image.NotFoundError
	if errors.As(err, &missing) {
		out.Code, out.Message = "no-image", fmt.Sprintf("policy %s: there is no image %s", inv.policy.Name, missing.Reference)
		out.Hint = "creel image pull " + missing.Reference + ", or creel image import an archive; creel image ls lists those there are"
	}
	if errors.Is(err, engine.ErrRefused) {
		out.Code, out.Message = "refused", fmt.Sprintf("policy %s: %v", inv.policy.Name, err)
	}
	return out
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// agentCaller is who runs an agent, for people.
const agentCaller = "creeld"

// life is how one life of an agent went.
type life struct {
	problem string // how it ended, or why it was none
	lasted  time.Duration
	// failed says that it ended by itself, or for its bad answers. Only that
	// counts against the limit of restarts: what is missing for a start may come
	// back at any time, such as a vault, and a try costs little.
	failed bool
}

// keepAgent keeps one agent up until it is not declared any more.
func (s *Supervisor) keepAgent(a *agent) {
	defer s.agents.keepers.Done()
	e := &execSocket{of: a}
	var p pace
	for {
		want := a.wanted()
		switch {
		case want.gone:
			e.close() // before anybody could be declared in its place
			if s.agents.retire(a) {
				return
			}
			continue
		case !want.up:
			why := ""
			if want.rest == api.AgentDown {
				why = a.describe().Problem
			}
			a.show(want.rest, why)
			a.await(want, 0)
			p = pace{}
			continue
		}
		a.show(api.AgentStarting, a.describe().Problem)
		if l := s.oneLife(a, e, want); a.wanted().is(want) {
			s.pause(a, want, l, &p)
		}
		if !a.wanted().is(want) {
			p = pace{} // the ends so far were of what nobody wants any more
		}
	}
}

// pause is what comes between two lives where nobody wished for the second:
// a wait, or the end of it until somebody does.
func (s *Supervisor) pause(a *agent, want wish, l life, p *pace) {
	log := s.cfg.Log.WithField("agent", a.name).WithField("problem", l.problem)
	wait, down := p.next(want.policy.Agent.Restart, l, time.Now())
	if !down {
		log.WithField("wait", wait.String()).Warn("an agent is to be started again")
		a.show(api.AgentBackOff, l.problem)
		a.await(want, wait)
		return
	}
	log.Errorf("an agent has ended more often than %s and stays down", want.policy.Agent.Restart.Limit)
	a.show(api.AgentDown, l.problem)
	a.change(func(w *wish) {
		if w.is(want) {
			w.up, w.rest = false, api.AgentDown
		}
	})
}

// pace says when an agent is started again.
type pace struct {
	wait time.Duration
	ends []time.Time // that count against the limit, oldest first
}

func (p *pace) next(r policy.Restart, l life, now time.Time) (wait time.Duration, down bool) {
	if l.lasted >= r.Most {
		p.wait = 0
	}
	p.wait = min(max(2*p.wait, r.Backoff), r.Most)
	if l.failed && r.Limit.Count > 0 {
		p.ends = append(p.ends, now)
		p.ends = slices.DeleteFunc(p.ends, func(at time.Time) bool { return now.Sub(at) > r.Limit.In })
	}
	return p.wait, l.failed && r.Limit.Count > 0 && len(p.ends) > r.Limit.Count
}

// oneLife is one life of an agent, from the first launch step to when nothing of
// it is left.
func (s *Supervisor) oneLife(a *agent, e *execSocket, want wish) life {
	inv, err := s.conceive(a, e, want)
	if err != nil {
		return s.stillborn(a, err)
	}
	if !a.begin(inv, want) {
		inv.stop(api.ReasonOrdered)
	}
	l := s.spend(a, want, inv)
	s.agents.ports.leave(inv)
	e.hangUp()
	s.end(inv)
	a.end(l.problem)
	return l
}

// stillborn is the life of an agent for which no sandbox was made.
func (s *Supervisor) stillborn(a *agent, err error) life {
	var told *api.Error
	if errors.As(err, &told) {
		err = errors.New(told.Message)
	}
	s.cfg.Log.WithField("agent", a.name).WithError(err).Warn("an agent could not be started")
	return life{problem: err.Error()}
}

// conceive makes the invocation that is an agent's life. It has no caller: its
// input is empty, and its output for the logs.
func (s *Supervisor) conceive(a *agent, e *execSocket, want wish) (_ *invocation, err error) {
	in, end, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make input: %w", err)
	}
	end.Close()
	defer func() {
		if err != nil {
			in.Close()
		}
	}()
	p := want.policy
	if err := s.agents.published(p); err != nil {
		return nil, err
	}
	req := &api.ExecRequest{Policy: p.Name}
	for _, word := range p.Agent.Command {
		req.Argv = append(req.Argv, []byte(word))
	}
	inv, err := s.prepare(want.declared, p, server.Peer{}, req, server.Stdio{In: in})
	if err != nil {
		return nil, err
	}
	inv.caller, inv.agent = agentCaller, a
	if err := e.open(s, p, inv.who); err != nil {
		return nil, err
	}
	if err := s.reachGateway(context.Background(), inv); err != nil {
		return nil, err
	}
	return inv, s.enterAgent(inv)
}

// enterAgent puts an agent's life among the live ones. No bound on commands
// keeps it out.
func (s *Supervisor) enterAgent(inv *invocation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.tearing.Add(1)
	s.live[inv.id] = inv
	return nil
}

// spend launches an agent by the same steps as a command, and stays with it
// until its last process has ended.
func (s *Supervisor) spend(a *agent, want wish, inv *invocation) life {
	if err := s.launch(context.Background(), inv); err != nil {
		_, told := s.launchFailed(inv, err)
		return life{problem: told.Error()}
	}
	s.logOf(inv).Info("agent started")
	s.agents.ports.lead(inv)
	s.lookForRotation(context.Background(), a) // a value may have come between the fetching and the marks
	w := newWatch(s, a, inv, want)
	exit, err := w.attend()
	a.show(api.AgentStopping, w.problem)
	result := s.conclude(inv, exit, err, nil)
	l := life{lasted: time.Since(inv.launched), problem: fmt.Sprintf("it ended: %s, exit code %d", result.Reason, result.ExitCode)}
	switch {
	case w.reason != "":
		l.problem, l.failed = w.problem, w.reason == api.ReasonUnhealthy
	default:
		l.failed = result.Reason != api.ReasonKilled
	}
	return l
}

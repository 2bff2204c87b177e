package supervisor

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/network"
)

// watch is the attendance on one running agent.
type watch struct {
	s      *Supervisor
	agent  *agent
	inv    *invocation
	want   wish
	health health
	// reason and problem say why it was asked to end; empty while nobody has.
	reason, problem string
	kill            <-chan time.Time // the end of its grace
	answers         chan error
}

func newWatch(s *Supervisor, a *agent, inv *invocation, want wish) *watch {
	return &watch{s: s, agent: a, inv: inv, want: want, answers: make(chan error, 1),
		health: health{ready: want.policy.Agent.Ready, began: time.Now()}}
}

// attend waits for the agent's end and acts on what happens meanwhile.
func (w *watch) attend() (initproto.Exit, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.agent.show(w.health.begin(), "")
	ended := w.inv.await()
	expired, warned := w.inv.expiries()
	w.ask(ctx, 0)
	for {
		if !w.agent.wanted().is(w.want) {
			w.stop(api.ReasonOrdered, "it was to stop")
		}
		select {
		case e := <-ended:
			return e.exit, e.err
		case <-w.agent.changed:
		case <-w.kill:
			w.inv.stop(w.reason)
			w.kill = nil
		case <-expired:
			w.s.tellExpired(w.inv, "is started anew")
			w.stop(api.ReasonExpired, "a credential of it has ended")
			expired = nil
		case <-warned:
			w.s.tellExpired(w.inv, "goes on without them")
			warned = nil
		case err := <-w.answers:
			w.judge(ctx, err)
		}
	}
}

// stop asks the agent to end, as its policy says, and has it killed when it
// takes too long. Only the first reason counts.
func (w *watch) stop(reason, problem string) {
	if w.reason != "" {
		return
	}
	w.reason, w.problem = reason, problem
	w.agent.show(api.AgentStopping, problem)
	how := w.want.policy.Agent.Stop
	w.s.logOf(w.inv).WithField("why", problem).Infof("agent is sent %s", how.Signal)
	if err := w.s.signal(w.inv, int(unix.SignalNum(how.Signal))); err != nil {
		w.s.logOf(w.inv).WithError(err).Warn("the signal was not delivered")
	}
	w.kill = time.After(how.Grace)
}

// ask has the agent asked after a while whether it works.
func (w *watch) ask(ctx context.Context, after time.Duration) {
	ready := w.health.ready
	if ready == nil {
		return
	}
	at := network.Inside{Process: w.inv.sandbox.Pidfd, Port: uint16(ready.Port)}
	time.AfterFunc(after, func() {
		if ctx.Err() != nil {
			return // it has ended
		}
		ctx, cancel := context.WithTimeoutCause(ctx, ready.Timeout, fmt.Errorf("no answer within %s", ready.Timeout))
		defer cancel()
		w.answers <- at.Ask(ctx, ready.HTTP) // which has room: it is asked again only after this one was judged
	})
}

// judge takes in an answer.
func (w *watch) judge(ctx context.Context, err error) {
	if w.reason != "" {
		return
	}
	was := w.health.state
	state, hopeless := w.health.saw(err, time.Now())
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	log := w.s.logOf(w.inv)
	switch {
	case hopeless:
		log.WithError(err).Warn("agent does not answer, and is started anew")
		w.stop(api.ReasonUnhealthy, problem)
		return
	case state != was && state == api.AgentReady:
		log.Info("agent is ready")
	case state != was:
		log.WithError(err).Warn("agent does not answer")
	}
	w.agent.show(state, problem)
	w.ask(ctx, w.health.pause())
}

// health is what the answers of an agent say of it.
type health struct {
	ready    *policy.Ready // nil: it is not asked
	began    time.Time
	state    string
	failures int // in a row
}

// firstAsks is how often, at least, an agent is asked that has not been ready
// yet.
const firstAsks = 250 * time.Millisecond

func (h *health) begin() string {
	h.state = api.AgentStarting
	if h.ready == nil {
		h.state = api.AgentRunning
	}
	return h.state
}

// saw takes in an answer: nil, or what is wrong with it. hopeless says that the
// agent is to be started anew.
func (h *health) saw(err error, now time.Time) (state string, hopeless bool) {
	switch {
	case err == nil:
		h.state, h.failures = api.AgentReady, 0
	case h.state == api.AgentStarting:
		return h.state, now.Sub(h.began) >= h.ready.Within
	default:
		h.state = api.AgentUnhealthy
		h.failures++
	}
	return h.state, h.failures >= h.ready.Failures
}

// pause is how long it is until the next question.
func (h *health) pause() time.Duration {
	if h.state == api.AgentStarting {
		return min(h.ready.Every, firstAsks)
	}
	return h.ready.Every
}

package supervisor

import (
	"bytes"
	"context"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
)

// marks tell the values of credentials from others, by their variables.
type marks map[string][]byte

// lookForRotations has agents told whose credentials have other values than
// they were started with, as far as that can be known without having a value
// made: those of systemd and of the store.
func (s *Supervisor) lookForRotations(ctx context.Context) {
	for _, a := range s.agents.all() {
		s.lookForRotation(ctx, a)
	}
}

// lookForRotation compares the credentials of the policy that the agent lives
// by. Where another life is wished for already there is nothing to tell: it is
// given what its own policy names.
func (s *Supervisor) lookForRotation(ctx context.Context, a *agent) {
	inv, of := a.settled()
	if inv == nil {
		return
	}
	for _, c := range of.policy.Credentials {
		if !s.cfg.Credentials.Keeps(c) {
			continue
		}
		secret, ok := s.cfg.Credentials.Kept(ctx, c)
		if !ok {
			continue // the next start says why
		}
		mark, err := s.cfg.Keyring.Mark(secret.Reveal())
		secret.Destroy()
		if err != nil {
			s.cfg.Log.WithField("agent", a.name).WithError(err).Error("a rotation could not be looked for")
			continue
		}
		if a.remark(inv, c.Env, mark) {
			s.tellOfRotation(a, inv, of, c.Env)
		}
	}
}

// tellOfRotation does what an agent's policy says of a credential that has
// another value.
func (s *Supervisor) tellOfRotation(a *agent, inv *invocation, of wish, variable string) {
	log := s.cfg.Log.WithField("agent", a.name).WithField("variable", variable)
	how := of.policy.Agent.OnRotation
	if how == policy.RotationRestart || !inv.inState(stateRunning) {
		log.Info("a credential of an agent was rotated: the agent is started anew")
		a.change(func(w *wish) {
			if w.is(of) {
				w.turn++
			}
		})
		return
	}
	log.WithField("signal", string(how)).Info("a credential of an agent was rotated: the agent is sent a signal")
	if err := s.signal(inv, int(unix.SignalNum(string(how)))); err != nil {
		log.WithError(err).Warn("the signal was not delivered") // it has just ended, and will be started with the value
	}
}

// markCredentials remembers which values an agent is started with, to know them
// from others.
func (s *Supervisor) markCredentials(inv *invocation) error {
	if inv.agent == nil {
		return nil
	}
	all := marks{}
	for _, r := range inv.secrets {
		mark, err := s.cfg.Keyring.Mark(r.Secret.Reveal())
		if err != nil {
			return err
		}
		all[r.Env] = mark
	}
	inv.agent.mu.Lock()
	defer inv.agent.mu.Unlock()
	inv.agent.marks = all
	return nil
}

// settled gives the agent's life, and what it was made for; none where another
// is wished for.
func (a *agent) settled() (*invocation, wish) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inv == nil || !a.wish.is(a.of) {
		return nil, wish{}
	}
	return a.inv, a.of
}

// remark says whether the value of a credential is another than a life that
// goes on was started with, and then takes it for known.
func (a *agent) remark(inv *invocation, variable string, mark []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.marks[variable]
	if a.inv != inv || !a.wish.is(a.of) || known == nil || bytes.Equal(known, mark) {
		return false
	}
	a.marks[variable] = mark
	return true
}

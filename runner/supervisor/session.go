package supervisor

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// stateBackground is that of a sandbox whose command has ended, and what it
// left running not.
const stateBackground = "background"

// sessionKey says whose a session is. Two callers have none in common, nor two
// agents of one user, nor two policies, nor two for whom or from where one caller
// asks. The caller's name for it is never part of a path.
type sessionKey struct {
	caller                        callerID
	socket                        string // of the agent that calls; empty: of none
	policy, sender, channel, name string
}

// sessionOf is the key of the session that an invocation names.
func sessionOf(inv *invocation) sessionKey {
	return sessionKey{idOf(inv.peer), inv.peer.Further, inv.policy.Name, inv.req.Sender, inv.req.Channel, inv.req.Session}
}

// session is what the commands of one session share: a /tmp. Each has a sandbox
// of its own all the same.
type session struct {
	key    sessionKey
	policy *policy.Policy
	tmp    *rootfs.Tmp
	done   chan struct{}   // closed when it is over
	token  <-chan struct{} // closed when that of its first command is; nil: there is none
	// members are the invocations that have a sandbox, and whether their command
	// runs, or is about to.
	members map[*invocation]bool
	idle    *time.Timer
	turns   int // how many have joined
	over    bool
}

// mostMembers bounds the sandboxes of one session: what its commands left running
// counts to their caller's share of all, and a caller asks for many people.
const mostMembers = maxPerCaller / 8

// sessions are those under way. Their lock is taken before that of an
// invocation, never with it held.
type sessions struct {
	mu     sync.Mutex
	all    map[sessionKey]*session
	closed bool
}

func (shared *session) tokenEnded() bool {
	select {
	case <-shared.token:
		return true
	default:
		return false
	}
}

// lingers says that what the command leaves running goes on.
func (inv *invocation) lingers() bool { return inv.shared != nil && !inv.req.TTY }

// joinSession makes the invocation one of its session's, where its policy has
// such a thing and its caller names one.
func (s *Supervisor) joinSession(_ context.Context, inv *invocation) error {
	if inv.policy.Scope != policy.ScopeSession || inv.req.Session == "" || inv.canary != "" {
		return nil
	}
	key := sessionOf(inv)
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	if s.sessions.closed {
		return ErrClosed
	}
	// Asked under the lock: what joins before a reload is reviewed by it.
	if !s.inForce(inv.policy) {
		return &api.Error{Code: "policy-changed", ExitCode: api.ExitFailed, Message: fmt.Sprintf("policy %s: was changed before the command started", key.policy),
			Hint: "run it again, by the policy as it is now; nothing of the command was run"}
	}
	shared := s.sessions.all[key]
	// One of a former policy ends, which no reload has come to yet. Another token
	// of the same name begins with a session of its own: the former may have been
	// replaced for what somebody did with it.
	if shared != nil && (!reflect.DeepEqual(shared.policy, inv.policy) || shared.tokenEnded()) {
		s.endSession(shared)
		shared = nil
	}
	if shared != nil && len(shared.members) >= mostMembers {
		return &api.Error{Code: api.CodeBusy, ExitCode: api.ExitFailed, Message: fmt.Sprintf("policy %s: %d sandboxes of this session go on, as many as can", key.policy, mostMembers),
			Hint: "end what was left running; creel ps lists it as background"}
	}
	if shared == nil {
		var err error
		if shared, err = s.beginSession(key, inv); err != nil {
			return err
		}
	}
	shared.turns++
	if shared.idle != nil {
		shared.idle.Stop()
	}
	shared.members[inv] = true
	inv.shared = shared
	return nil
}

// inForce says whether a policy is one of those in force, and not of a former
// reading: a command may wait for its turn for longer than a reload takes.
func (s *Supervisor) inForce(p *policy.Policy) bool {
	now, ok := s.declared.Load().Policies.Get(p.Name)
	return ok && reflect.DeepEqual(now, p)
}

// beginSession needs the lock.
func (s *Supervisor) beginSession(key sessionKey, inv *invocation) (*session, error) {
	declared, n := inv.policy.Session, 0
	for other := range s.sessions.all {
		if other.policy == key.policy {
			n++
		}
	}
	if n >= declared.Most {
		return nil, &api.Error{Code: api.CodeBusy, ExitCode: api.ExitFailed, Message: fmt.Sprintf("policy %s: there are %d sessions, as many as it allows", key.policy, n),
			Hint: "wait for one to end, or raise session.most; each may hold as much memory as tmp says"}
	}
	age, err := boottime.NewAlarm(boottime.Now().Add(declared.MaxAge))
	if err != nil {
		return nil, err
	}
	tmp, err := s.cfg.Stage.NewTmp(inv.policy.Tmp.Size, inv.policy.Tmp.Inodes)
	if err != nil {
		age.Stop()
		return nil, err
	}
	var token <-chan struct{} // nil never tells
	if inv.peer.Holder != nil {
		token = inv.peer.Holder.Ended.Done()
	}
	shared := &session{key: key, policy: inv.policy, tmp: tmp, token: token, done: make(chan struct{}), members: map[*invocation]bool{}}
	s.sessions.all[key] = shared
	go func() {
		defer age.Stop()
		select {
		case <-age.C:
		case <-token:
		case <-shared.done:
			return
		}
		s.sessions.mu.Lock()
		defer s.sessions.mu.Unlock()
		s.endSession(shared)
	}()
	return shared, nil
}

// endSession ends a session with all that runs in it. The last of its sandboxes
// takes its /tmp away. It needs the lock.
func (s *Supervisor) endSession(shared *session) {
	if shared.over {
		return
	}
	shared.over = true
	close(shared.done)
	delete(s.sessions.all, shared.key)
	if shared.idle != nil {
		shared.idle.Stop()
	}
	for inv := range shared.members {
		inv.stop(api.ReasonSessionEnded)
	}
	s.closeTmp(shared)
}

// closeTmp takes the /tmp of a session away that is over and has no sandbox. It
// needs the lock.
func (s *Supervisor) closeTmp(shared *session) {
	if !shared.over || len(shared.members) > 0 {
		return
	}
	if err := shared.tmp.Close(); err != nil {
		s.cfg.Log.WithField("policy", shared.key.policy).WithError(err).Error("taking away the /tmp of a session failed")
	}
}

// restSession says that an invocation's command has ended.
func (s *Supervisor) restSession(inv *invocation) {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	inv.shared.members[inv] = false
	s.watchIdle(inv.shared)
}

// leaveSession says that nothing of an invocation's sandbox is left.
func (s *Supervisor) leaveSession(inv *invocation) error {
	shared := inv.shared
	if shared == nil {
		return nil
	}
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	ran := shared.members[inv]
	delete(shared.members, inv)
	s.closeTmp(shared)
	if ran { // or else it was idle before
		s.watchIdle(shared)
	}
	return nil
}

// watchIdle has a session in which no command runs end after a while, unless
// one joins before. It needs the lock.
func (s *Supervisor) watchIdle(shared *session) {
	for _, runs := range shared.members {
		if runs {
			return
		}
	}
	if shared.over {
		return
	}
	turns := shared.turns
	shared.idle = time.AfterFunc(shared.policy.Session.Idle, func() {
		s.sessions.mu.Lock()
		defer s.sessions.mu.Unlock()
		if shared.turns == turns {
			s.endSession(shared)
		}
	})
}

// reviewSessions ends those whose policy is no longer what it was.
func (s *Supervisor) reviewSessions() {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	for _, shared := range s.sessions.all {
		if !s.inForce(shared.policy) {
			s.endSession(shared)
		}
	}
}

// closeSessions ends all, for good.
func (s *Supervisor) closeSessions() {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	s.sessions.closed = true
	for _, shared := range s.sessions.all {
		s.endSession(shared)
	}
}

// finish takes an invocation away: at once, or once nothing runs in its sandbox
// any more.
func (s *Supervisor) finish(inv *invocation) {
	if inv.outlived {
		s.linger(inv)
	}
	s.end(inv)
}

// linger waits for the end of what a command left running. What was the
// command's own, its credentials and their leases, ends with the command.
func (s *Supervisor) linger(inv *invocation) {
	inv.logs.close()
	inv.report()
	inv.report = func() { s.logOf(inv).Info("nothing of the invocation runs any more") }
	s.unwindCommand(inv)
	s.searchLater(inv)
	inv.forget()
	s.restSession(inv)
	s.awaitInit(inv)
}

package supervisor

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// inSession is a request for a script in a session.
func inSession(name, script string) *api.ExecRequest {
	req := shell(script)
	req.Session = name
	return req
}

const stays = "sleep 1000 >/dev/null 2>&1 </dev/null &"

// What a command left running has the values that the command had, and they are
// good no longer than it.
func TestLeaseEndsWithItsCommandAndNotWithWhatThatLeft(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, policy: "scope: session\ncredentials: [{env: TOKEN, from: 'vault:1h#token'}]"})
	c := r.start(inSession("one", `[ "$TOKEN" ] && `+stays+` echo done`), "")
	<-c.done
	if c.err != nil || c.result.ExitCode != 0 || c.stdout.String() != "done\n" {
		t.Fatalf("%+v, %v, %q", c.result, c.err, c.stdout)
	}
	r.eventually("its lease is revoked", func() bool { return l.left() == 0 })
	reply, err := r.Ps(t.Context(), false)
	check(t, err)
	if len(reply.Sandboxes) != 1 || reply.Sandboxes[0].State != stateBackground || reply.Sandboxes[0].Processes != 2 {
		t.Errorf("ps: %+v", reply.Sandboxes)
	}
	if _, err := r.Kill(t.Context(), &api.KillRequest{All: true, Signal: int(unix.SIGKILL)}); err != nil {
		t.Error(err)
	}
	r.settle()
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// However sessions end, and commands in them, nothing is left: not one mount.
func TestSessionsLeaveNothing(t *testing.T) {
	for _, runtime := range runtimes {
		r := newRig(t, options{runtime: runtime, policy: "scope: session\nsession: {most: 64}"})
		before := descriptors(t)
		mounts := func() int {
			data, err := os.ReadFile("/proc/self/mountinfo")
			check(t, err)
			return strings.Count(string(data), r.dir)
		}
		if c := r.run("true"); c.err != nil { // the policy's own root is built once
			t.Fatal(c.err)
		}
		mountsBefore := mounts()
		var calls []*call
		for _, script := range []string{stays, stays + " exit 3", "true", "/no/such/command", stays + " kill -9 $$"} {
			for _, name := range []string{"one", "two", "one"} {
				calls = append(calls, r.start(inSession(name, script), ""))
			}
		}
		gone := r.start(inSession("one", stays+" sleep 1000"), "")
		r.started(gone)
		gone.cancel(os.ErrClosed)
		for _, c := range append(calls, gone) {
			<-c.done
		}
		if n := mounts(); n != mountsBefore+2 {
			t.Errorf("%s: %d mounts for two sessions", runtime, n-mountsBefore)
		}
		r.declared.Store(r.anotherPolicy(t))
		r.reviewSessions()
		r.settle()
		r.eventually("no mount is left", func() bool { return mounts() == mountsBefore })
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("%s: left %q", runtime, left)
		}
		r.eventually("no descriptor is left", func() bool { return descriptors(t) <= before+2 })
	}
}

// anotherPolicy is what is declared once exec-default is another.
func (r *rig) anotherPolicy(t *testing.T) *Declared {
	t.Helper()
	declared, err := r.declare(map[string]string{"exec-default": "scope: command"})
	check(t, err)
	return declared
}

// A canary, which is looked for wherever it went, is no part of a session.
func TestCanaryJoinsNoSession(t *testing.T) {
	s := admitting(t)
	declared, err := (&rig{t: t, workspace: "/srv/workspace"}).declare(map[string]string{"exec-default": "scope: session\ncredentials: [{env: TOKEN, from: \"exec:/bin/helper\"}]"})
	check(t, err)
	s.declared.Store(declared)
	p, _ := declared.Policies.Get("exec-default")
	for _, inv := range []*invocation{
		{policy: p, req: inSession("one", "true"), canary: "CANARY"},
		{policy: p, req: inSession("", "true")},
	} {
		if err := s.joinSession(t.Context(), inv); err != nil || inv.shared != nil || inv.lingers() {
			t.Errorf("%+v, %v", inv.shared, err)
		}
	}
}

// What one session leaves running cannot take all that its caller may have.
func TestSessionHasItsShareOfSandboxesAndNoMore(t *testing.T) {
	s := admitting(t)
	declared, err := (&rig{t: t, workspace: "/srv/workspace"}).declare(map[string]string{"exec-default": "scope: session"})
	check(t, err)
	s.declared.Store(declared)
	p, _ := declared.Policies.Get("exec-default")
	one := &session{key: sessionKey{policy: p.Name, name: "one"}, policy: p, members: map[*invocation]bool{}}
	s.sessions.all = map[sessionKey]*session{one.key: one}
	for i := range mostMembers {
		inv := &invocation{policy: p, req: inSession("one", "true")}
		if err := s.joinSession(t.Context(), inv); err != nil || inv.shared != one {
			t.Fatalf("control: the one after %d: %v", i, err)
		}
	}
	inv := &invocation{policy: p, req: inSession("one", "true")}
	if err := s.joinSession(t.Context(), inv); err == nil || !strings.Contains(err.Error(), "64 sandboxes of this session") || inv.shared != nil {
		t.Errorf("one more: %v", err)
	}
	if 4*mostMembers > maxPerCaller {
		t.Errorf("a session may have %d of the %d sandboxes of its caller", mostMembers, maxPerCaller)
	}
}

// Whoever waited for its turn while its policy became another has no part in the
// sessions of the one in force, and ends none of them.
func TestCommandOfAFormerPolicyJoinsAndEndsNoSession(t *testing.T) {
	for name, lines := range map[string]string{"changed": "scope: session\nenv: {NEW: '1'}", "read again": "scope: session"} {
		r := newRig(t, options{policy: "scope: session"})
		late := r.waits(inSession("one", "true"))
		declared, err := r.declare(map[string]string{"exec-default": lines})
		check(t, err)
		r.declared.Store(declared)
		r.reviewSessions()
		running := r.start(inSession("one", "exec sleep 1000"), "")
		id := r.started(running)
		r.mu.Lock()
		shared := r.live[id].shared
		r.mu.Unlock()
		err = r.joinSession(t.Context(), late)
		if same := name == "read again"; same != (err == nil) || same != (late.shared == shared) {
			t.Errorf("%s: %v, in the session %v", name, err, late.shared == shared)
		} else if !same && asAPI(t, err).Code != "policy-changed" {
			t.Errorf("%s: %v", name, err)
		}
		control := r.waits(inSession("one", "true"))
		if err := r.joinSession(t.Context(), control); err != nil || control.shared != shared {
			t.Errorf("%s: control: one of the policy in force: %v", name, err)
		}
		check(t, errors.Join(r.leaveSession(late), r.leaveSession(control)))
		running.cancel(server.ErrCallerGone)
		if <-running.done; running.result == nil || running.result.Reason != api.ReasonCallerGone {
			t.Errorf("%s: a command of the policy in force: %+v, %v", name, running.result, running.err)
		}
	}
}

// Whose a session is, creeld knows: of which user, by which agent's socket, or of
// which token. How many sandboxes a user has is a matter of all its agents.
func TestSessionIsOfOneCaller(t *testing.T) {
	of := func(peer server.Peer) *invocation {
		return &invocation{peer: peer, policy: &policy.Policy{Name: "exec-default"}, req: inSession("one", "true")}
	}
	agent := server.Peer{UID: 1000, Further: "/run/creel/agents/one.sock"}
	for name, peer := range map[string]server.Peer{
		"another agent of its user": {UID: 1000, Further: "/run/creel/agents/two.sock"}, "its user": {UID: 1000},
		"another user": {UID: 1001, Further: agent.Further}, "a token": {Holder: &server.Holder{Name: "one"}},
	} {
		if sessionOf(of(peer)) == sessionOf(of(agent)) {
			t.Errorf("%s has the agent's session", name)
		}
		if same := strings.Contains(name, "its user"); same != (idOf(peer) == idOf(agent)) {
			t.Errorf("the share of %s is the agent's: %v", name, !same)
		}
	}
	agent.PID, agent.GID = 7, 8
	if sessionOf(of(agent)) != sessionOf(of(server.Peer{UID: 1000, Further: agent.Further})) {
		t.Error("control: another process of the agent has not its session")
	}
}

// waits gives an invocation that is admitted, and not launched yet.
func (r *rig) waits(req *api.ExecRequest) *invocation {
	r.t.Helper()
	stdio, in, out, errs := pipes(r.t)
	check(r.t, errors.Join(in.Close(), out.Close(), errs.Close(), stdio.Close()))
	inv, err := r.admit(server.Peer{}, req, stdio)
	check(r.t, err)
	return inv
}

// A session that somebody began with a token that has ended since is not joined
// with the one that replaced it, however soon that is.
func TestSessionOfATokenThatHasEndedIsNotJoined(t *testing.T) {
	r := newRig(t, options{policy: "scope: session"})
	for ended, want := range map[bool]string{false: "kept", true: "none"} {
		begun := r.start(inSession("one", "echo kept >/tmp/file"), "")
		if <-begun.done; begun.err != nil {
			t.Fatal(begun.err)
		}
		token := make(chan struct{})
		if ended {
			close(token)
		}
		r.sessions.mu.Lock()
		for _, shared := range r.sessions.all {
			shared.token = token // what looks out for its end has not seen it yet
		}
		r.sessions.mu.Unlock()
		c := r.start(inSession("one", "cat /tmp/file 2>/dev/null || echo none"), "")
		<-c.done
		if c.err != nil || strings.TrimSpace(c.stdout.String()) != want {
			t.Errorf("ended %v: %q, %v", ended, c.stdout, c.err)
		}
	}
}

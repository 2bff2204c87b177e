package supervisor

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/lease"
	"github.com/creel-sandbox/creel/runner/network"
	"github.com/creel-sandbox/creel/runner/pidfd"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/server"
)

// invocation is one command on its way through the launch steps, its run and
// its end.
type invocation struct {
	id      string
	peer    server.Peer
	caller  string
	command string // for people
	req     *api.ExecRequest
	policy  *policy.Policy
	engine  engine.Engine
	made    policy.Engine // the engine's name
	filter  []byte
	who     rootfs.Identity
	created time.Time
	stdio   server.Stdio
	canary  string // in all of its credentials; empty, they are the real ones
	agent   *agent // whose life it is; nil for a command of a caller

	// Set by the launch steps, in their order, and used by their undos.
	done      []step
	root      *engine.Root
	sandbox   *engine.Sandbox
	session   *initproto.Supervisor
	listeners []*os.File // one for each of doors
	relays    []*network.Relay
	secrets   []credential.Resolved
	leases    *lease.Holding // nil while there are none
	expiry    *expiry        // nil without credentials
	prefetch  *prefetch      // what waits with a sandbox of the pool; nil for none
	output    *output
	logs      *tail
	shared    *session // nil where it shares nothing
	outlived  bool     // the command has ended, and its sandbox goes on
	mu        sync.Mutex
	// pidNamespace is the sandbox's, from when its posture was compared.
	pidNamespace string
	state        string
	timings      []string
	reason       string // why it was stopped; empty while nobody has
	result       *api.Result
	cancel       context.CancelFunc // of the launch
	// heir is the invocation that has taken over the sandbox from the pool.
	heir *invocation
	// abandoned is closed when somebody, and not the command, ended it.
	abandoned chan struct{}
	launched  time.Time
	// begun: the init had all that the command needs, and did not say that it
	// could not be started.
	begun bool
	// report tells the log how it ended, once the caller knows.
	report func()
}

// The states of a sandbox that is being made, of one of the pool, and of one
// with a command.
const (
	stateCreating = "creating"
	stateWarm     = "warm"
	stateRunning  = "running"
)

// inherit makes the sandbox of the pool the invocation's own. Whoever still
// means the other to stop, means this one from now on.
func (inv *invocation) inherit(w *invocation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	inv.id, inv.root, inv.sandbox, inv.session = w.id, w.root, w.sandbox, w.session
	inv.listeners, inv.relays, inv.prefetch, inv.pidNamespace = w.listeners, w.relays, w.prefetch, w.pidNamespace
	inv.done = w.done
	inv.timings = []string{"taken from the pool"}
	w.heir = inv
	if w.reason != "" { // stopped just before
		inv.stop(w.reason)
	}
}

// stop ends the sandbox for a reason; the first reason given stays. Killing
// PID 1 of a PID namespace makes the kernel kill every process in it
// (pid_namespaces(7)), whatever they ignore or have become.
func (inv *invocation) stop(reason string) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.heir != nil {
		inv.heir.stop(reason)
		return
	}
	if inv.reason == "" {
		inv.reason = reason
	}
	if reason != api.ReasonExited && !inv.isAbandoned() {
		close(inv.abandoned)
	}
	inv.cancel()
	if inv.sandbox != nil {
		pidfd.Kill(inv.sandbox.Pidfd) // which can only mean our init, however late
	}
	if reason != api.ReasonExited && inv.session != nil {
		// The end of the init is the end of its socket, unless it has handed it
		// to somebody outside. Nothing more is expected of it.
		inv.session.Close()
	}
}

func (inv *invocation) isAbandoned() bool {
	select {
	case <-inv.abandoned:
		return true
	default:
		return false
	}
}

// stopped gives the reason the sandbox was stopped for, if it was.
func (inv *invocation) stopped() string {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return inv.reason
}

// forget lets go of what only a running command needs: an ended invocation
// is remembered for a while, and its arguments may be 2 MiB.
func (inv *invocation) forget() {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.req.Argv, inv.req.Env, inv.filter, inv.secrets, inv.output = nil, nil, nil, nil, nil
}

// inState says whether the sandbox is in one of these states.
func (inv *invocation) inState(states ...string) bool {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return slices.Contains(states, inv.state)
}

func (inv *invocation) setState(state string) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.state = state
}

// usage is what the sandbox uses; ErrNotFound while or once there is none.
func (inv *invocation) usage() (cgroup.Usage, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.sandbox == nil {
		return cgroup.Usage{}, cgroup.ErrNotFound
	}
	return inv.sandbox.Group.Usage()
}

// logOf is the log with what tells an invocation from others.
func (s *Supervisor) logOf(inv *invocation) *logrus.Entry {
	fields := logrus.Fields{"sandbox": inv.id, "policy": inv.policy.Name, "caller": inv.caller}
	for key, word := range map[string]string{"session": inv.req.Session, "sender": inv.req.Sender, "channel": inv.req.Channel, "call": inv.req.Call} {
		if word != "" {
			fields[key] = word
		}
	}
	return s.cfg.Log.WithFields(fields)
}

// describe is the invocation as ps shows it.
func (inv *invocation) describe() api.Sandbox {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	row := api.Sandbox{
		ID: inv.id, Policy: inv.policy.Name, State: inv.state, Command: inv.command,
		Caller: inv.caller, Session: inv.req.Session, Sender: inv.req.Sender, Channel: inv.req.Channel, Call: inv.req.Call, Created: inv.created,
		Engine: string(inv.made), Weaker: inv.policy.Weaker(), Result: inv.result, Canary: inv.canary != "",
	}
	if inv.sandbox != nil {
		row.Pid = inv.sandbox.Pid
	}
	if inv.leases != nil {
		row.Leases = told(inv.leases.List())
	} else if waiting := inv.prefetch.list(); waiting != nil {
		row.Leases = told(waiting)
	}
	if inv.agent != nil && (row.State == stateCreating || row.State == stateRunning) {
		row.State = inv.agent.shown()
	}
	if row.State == stateWarm && inv.reason != "" {
		row.State = "ending"
	}
	return row
}

// commandLine joins an argv for people; it is cut, since it may be 2 MiB.
func commandLine(argv [][]byte) string {
	const most = 200
	line := bytes.Join(argv, []byte(" "))
	if len(line) > most {
		cut := most
		for back := range utf8.UTFMax { // to where a character begins
			if utf8.RuneStart(line[most-back]) {
				cut = most - back
				break
			}
		}
		line = append(line[:cut:cut], "…"...)
	}
	return strings.ToValidUTF8(string(line), "\ufffd")
}

// Package supervisor runs invocations: it decides who may run what, makes a
// sandbox for each command, compares its posture with the policy before the
// command starts, keeps the time and output limits, and takes everything away
// when the command ends, however it ends.
//
// It also keeps agents up, holds the sessions that commands share, and answers
// what operators, and holders of tokens of their own, ask.
//
// It imports the other packages of runner, and never makes a container or reads
// the posture of one itself: those are engine's and posture's. What runs it does
// not tell from memory: ps asks the kernel and the engine. It remembers what has
// ended, for a while, and which agents it is to keep up.
package supervisor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/store"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/hygiene/keyring"
	"github.com/creel-sandbox/creel/runner/lease"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/token"
)

// maxInvocations bounds how many run at once; past it a caller is told so.
const maxInvocations = 1024

// maxPerCaller bounds those of one uid, or one token, among them, so that no caller can keep
// the others out.
const maxPerCaller = maxInvocations / 2

// launchWait bounds how long an invocation waits for its turn to be launched.
const launchWait = time.Minute

// keptEnded is how many ended invocations `ps -a` and `inspect` still know.
const keptEnded = 256

// Config is what a supervisor is made of.
type Config struct {
	// Engines are those that this host has.
	Engines     map[policy.Engine]engine.Engine
	Cgroups     *cgroup.Hierarchy
	Credentials *credential.Resolver
	Leases      *lease.Book
	// Hygiene searches the workspaces of policies that ask for it.
	Hygiene *hygiene.Searcher
	// Keyring makes what Hygiene recognises credentials by.
	Keyring *keyring.Keyring
	// Secrets is the provider of store: among the credentials.
	Secrets *store.Store
	// Tokens are those of callers on the token socket; nil: there is none.
	Tokens *token.Book
	// Stage makes what sandboxes of one session share.
	Stage *rootfs.Stage
	// InitPath is creel-init, for the doctor to look at.
	InitPath string
	// Listen makes the socket of an agent at a path, for its user alone, and
	// serves it as the socket for commands is served. Of sandboxes it is for
	// those that own says are the agent's.
	Listen func(path string, who rootfs.Identity, own func(sandbox string) bool) (AgentSocket, error)
	// Load reads creel.yaml and the policies anew.
	Load Loader
	Log  *logrus.Logger
}

// AgentSocket is the socket on which an agent runs commands.
type AgentSocket interface {
	Close() error
	// HangUp closes its connections, and so ends those commands.
	HangUp()
}

// Supervisor implements server.Backend.
type Supervisor struct {
	cfg      Config
	declared atomic.Pointer[Declared]
	// notice says why the last reload was not taken, or is empty.
	notice   atomic.Pointer[string]
	versions versions
	users    users
	// foul says of each policy, by its name, what the last search of its
	// workspaces found.
	foul sync.Map
	// knownTokens says of each token that is looked for in workspaces, by its
	// name, when it was made.
	knownTokens sync.Map

	learner *learner
	agents  agents
	// sessions are those of policies with 'scope: session'.
	sessions sessions

	pool    *pool
	lull    *lull
	garbage garbage
	// launches holds one value for each launch under way, so that many at once
	// do not slow down one another, and an operator, to a standstill.
	launches chan struct{}

	mu     sync.Mutex
	closed bool
	live   map[string]*invocation
	warm   map[string]*invocation // those of the pool, which have no command
	ended  []*invocation          // oldest first
	// tearing counts invocations until nothing of them is left.
	tearing sync.WaitGroup
}

var _ server.Backend = (*Supervisor)(nil)

// New makes a supervisor from a first load that must succeed, and ends what a
// former one left behind.
func New(ctx context.Context, cfg Config) (*Supervisor, error) {
	s := &Supervisor{cfg: cfg, learner: newLearner(cfg), pool: newPool(), lull: newLull(), launches: make(chan struct{}, 2*runtime.NumCPU()), live: map[string]*invocation{}, warm: map[string]*invocation{},
		sessions: sessions{all: map[sessionKey]*session{}}}
	declared, err := cfg.Load()
	if err != nil {
		return nil, err
	}
	s.declared.Store(declared)
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	s.reviewSecrets()
	s.stock()
	s.beginHygiene()
	go s.keepPool()
	return s, nil
}

// Close ends everything and returns when nothing of it is left: agents first,
// which may finish what they have begun, and for which commands still run.
func (s *Supervisor) Close() error {
	s.endAgents()
	s.closeSessions()
	s.mu.Lock()
	if !s.closed {
		close(s.pool.stopped)
	}
	s.closed = true
	for _, all := range []map[string]*invocation{s.live, s.warm} {
		for _, inv := range all {
			inv.stop(api.ReasonStopped)
		}
	}
	s.mu.Unlock()
	s.tearing.Wait()
	return s.sweep(context.Background())
}

// ErrClosed refuses whatever comes while the supervisor stops.
var ErrClosed = &api.Error{Code: api.CodeClosing, Message: "the supervisor is stopping", ExitCode: api.ExitFailed,
	Hint: "try again once it has started"}

// enter puts an invocation among the live ones, with a sandbox of the pool
// where there is one for it.
func (s *Supervisor) enter(inv, w *invocation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case len(s.live) >= maxInvocations || s.liveOf(inv.peer) >= maxPerCaller:
		return &api.Error{Code: api.CodeBusy, Message: "too many invocations at once", ExitCode: api.ExitFailed,
			Hint: "wait for some to end; creel ps lists them"}
	}
	s.tearing.Add(1)
	if w != nil && s.warm[w.id] == w {
		delete(s.warm, w.id)
		inv.inherit(w)
		s.tearing.Done()
	}
	s.live[inv.id] = inv
	return nil
}

// liveOf counts the invocations of one caller. It needs the lock.
func (s *Supervisor) liveOf(peer server.Peer) int {
	n, id := 0, idOf(peer)
	for _, inv := range s.live {
		if idOf(inv.peer) == id {
			n++
		}
	}
	return n
}

// leave is called once nothing of the invocation is left.
func (s *Supervisor) leave(inv *invocation) {
	s.mu.Lock()
	delete(s.live, inv.id)
	s.ended = append(s.ended, inv)
	if len(s.ended) > keptEnded {
		s.ended = s.ended[len(s.ended)-keptEnded:]
	}
	s.mu.Unlock()
	s.tearing.Done()
}

// sweep ends what the engine still has and nobody here knows: what a killed
// supervisor left. Removing one twice does no harm.
func (s *Supervisor) sweep(ctx context.Context) error {
	found, err := s.list(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range found {
		s.cfg.Log.WithField("sandbox", f.ID).Warn("removing a sandbox that a former supervisor left")
		errs = append(errs, s.cfg.Engines[f.engine].Remove(ctx, f.ID))
	}
	return errors.Join(errs...)
}

// found is a sandbox that exists, and the name of its engine.
type found struct {
	engine.Listed
	engine policy.Engine
}

// list asks every engine what exists.
func (s *Supervisor) list(ctx context.Context) ([]found, error) {
	var all []found
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Engines)) {
		listed, err := s.cfg.Engines[name].List(ctx)
		if err != nil {
			return nil, fmt.Errorf("list sandboxes of the %s engine: %w", name, err)
		}
		for _, one := range listed {
			all = append(all, found{one, name})
		}
	}
	return all, nil
}

// Healthy reports whether the supervisor still takes its own lock: what the
// systemd watchdog is told about (sd_watchdog_enabled(3)).
func (s *Supervisor) Healthy() bool {
	taken := make(chan struct{})
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(taken)
	}()
	select {
	case <-taken:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// newID gives 12 hexadecimal digits, as Docker shows them.
func newID() string {
	var b [6]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

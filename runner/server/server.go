// Package server is the supervisor's side of its sockets: it accepts
// connections, learns who called, from the kernel or on the token socket from
// what the Backend says of a token, decides by one table who may use which
// route, and hands what is allowed to a Backend.
//
// It imports the standard library, x/sys, x/time/rate, runner/ratelog and
// runner/api, never an engine or a policy. It never believes an identity that a
// client sends, never keeps a token, never starts a process, and never keeps a
// descriptor that it did not hand on. A bad frame, a slow peer or a flood ends
// that connection and no other.
package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/ratelog"
)

// The causes with which a Backend's context is cancelled.
var (
	// ErrCallerGone says that the caller's connection has closed or broken.
	ErrCallerGone = errors.New("the caller has gone")
	// ErrClosed says that the server was closed and its patience ran out.
	ErrClosed = errors.New("the server is closed")
)

// Peer is who called, as the kernel recorded it when the connection was made
// (SO_PEERCRED, unix(7)). The process may have ended since, and its PID may
// be another's by now: decide by UID alone. On the token socket the kernel's
// word counts for nothing: UID and GID are no user's, and Holder says who called.
type Peer struct {
	UID, GID uint32
	PID      int32
	Holder   *Holder // of a token; nil on the other sockets
	// Further is the path of the further socket (ServeExec) that it called on:
	// that of an agent, which tells one from others of its user. Empty on the
	// server's own.
	Further string
}

// Stdio is the caller's three pipes; Out and Err may be the same pipe.
// Whoever is handed one owns it and closes it.
type Stdio struct{ In, Out, Err *os.File }

// Close closes all three.
func (s Stdio) Close() error { return errors.Join(s.In.Close(), s.Out.Close(), s.Err.Close()) }

// Backend does what the routes ask for. An *api.Error reaches the client as
// it is; any other error becomes one with code "internal".
type Backend interface {
	// Exec runs one invocation to its end and owns stdio. ctx is cancelled
	// with cause ErrCallerGone when the caller's connection closes. started
	// is called once, when the command runs. control is never closed.
	Exec(ctx context.Context, peer Peer, req *api.ExecRequest, stdio Stdio, control <-chan api.Control, started func(id string)) (*api.Result, error)
	Ps(ctx context.Context, all bool) (*api.PsReply, error)
	Kill(ctx context.Context, req *api.KillRequest) (*api.KillReply, error)
	Inspect(ctx context.Context, id string) (*api.InspectReply, error)
	// Logs calls emit for each piece until there is no more, or ctx ends, or
	// emit fails.
	Logs(ctx context.Context, req *api.LogsRequest, emit func(api.LogChunk) error) error
	Stats(ctx context.Context, ids []string) (*api.StatsReply, error)
	Doctor(ctx context.Context) (*api.DoctorReply, error)
	Version(ctx context.Context) *api.VersionReply
}

// CredentialRevoker is a Backend that can take credentials back.
type CredentialRevoker interface {
	RevokeCredentials(ctx context.Context, req *api.RevokeRequest) (*api.RevokeReply, error)
}

// AgentKeeper is a Backend that keeps agents up.
type AgentKeeper interface {
	OrderAgents(ctx context.Context, req *api.AgentRequest) (*api.AgentReply, error)
}

// CanaryPlanter is a Backend that can run a command with a canary in place of
// each credential, and say where to search for it.
type CanaryPlanter interface {
	// ExecCanary is Exec; the caller is uid 0, and need be no caller of the
	// policy.
	ExecCanary(ctx context.Context, peer Peer, req *api.CanaryRequest, stdio Stdio, control <-chan api.Control, started func(id string)) (*api.Result, error)
	Places(ctx context.Context, policy string) (*api.PlacesReply, error)
}

// PolicyLister is a Backend that can say which policies a caller may run.
type PolicyLister interface {
	Policies(ctx context.Context, peer Peer) (*api.PolicyReply, error)
}

// Options configure a Server. Zero values take the defaults of the Default
// constants.
type Options struct {
	// Exec, Admin and Token accept *net.UnixConn; a nil one is not served.
	Exec, Admin, Token net.Listener
	Backend            Backend
	// SandboxOf says in which sandbox a process is, or "" for one outside. A
	// socket can be handed into a sandbox, as its file can (unix(7),
	// SCM_RIGHTS): whoever connects from one is refused. Nil does not ask.
	SandboxOf func(pid int32) (string, error)
	// Admins are the uids besides 0 that may use every route but root's own.
	Admins []uint32
	// Reload puts what is on disk in force, or says in an *api.Error what is wrong
	// with it. Nil refuses the route.
	Reload func(ctx context.Context) error
	// ConfigPath is the file that denials name.
	ConfigPath string
	// MaxConns bounds the connections of one socket at once, and
	// MaxConnsPerUID those of one uid among them.
	MaxConns, MaxConnsPerUID int
	// RequestTimeout bounds the wait for a whole request, and WriteTimeout
	// that for a client to take one message.
	RequestTimeout, WriteTimeout time.Duration
	// TokenPause is how long whoever shows a token that is not good waits for
	// the answer.
	TokenPause time.Duration
	// RefusalPause is how long, at most, a refused command keeps its place where
	// many were refused.
	RefusalPause time.Duration
	// Log is told what no client can be told; nil drops it.
	Log func(format string, args ...any)
}

// The defaults of Options. A connection holds at most four descriptors, so
// the limit of open files (RLIMIT_NOFILE) must allow 4 × DefaultMaxConns.
const (
	DefaultConfigPath     = "/etc/creel/creel.yaml"
	DefaultMaxConns       = 2048
	DefaultMaxConnsPerUID = 1024
	DefaultRequestTimeout = 10 * time.Second
	DefaultWriteTimeout   = 10 * time.Second
	DefaultTokenPause     = time.Second
	DefaultRefusalPause   = 10 * time.Second
)

// Server serves the sockets.
type Server struct {
	options Options
	admins  atomic.Pointer[[]uint32]
	// Logged at most once a second: they are anybody's to bring about.
	refusals *ratelog.Limit // of tokens
	insiders *ratelog.Limit // of sandboxes
	// Of messages over largeMessage, being received: on the token socket, and
	// on the others.
	largeOfTokens, large *limiter

	ctx    context.Context
	cancel context.CancelCauseFunc
	calls  sync.WaitGroup

	refused  *rate.Limiter // of commands
	stopping chan struct{} // closed when closing is set

	mu      sync.Mutex
	closing bool
	waiting map[*call]struct{}      // connections without a request yet
	further map[net.Listener]*seats // those of ServeExec
}

// New returns a Server that Serve starts.
func New(options Options) *Server {
	setDefault(&options.ConfigPath, DefaultConfigPath)
	setDefault(&options.MaxConns, DefaultMaxConns)
	setDefault(&options.MaxConnsPerUID, DefaultMaxConnsPerUID)
	setDefault(&options.RequestTimeout, DefaultRequestTimeout)
	setDefault(&options.WriteTimeout, DefaultWriteTimeout)
	setDefault(&options.TokenPause, DefaultTokenPause)
	setDefault(&options.RefusalPause, DefaultRefusalPause)
	if options.Log == nil {
		options.Log = func(string, ...any) {}
	}
	s := &Server{
		options:       options,
		large:         newLimiter(maxLarge, maxLargePerUID, 1),
		largeOfTokens: newLimiter(maxLarge, maxLargePerUID, 0),
		stopping:      make(chan struct{}),
		refused:       newPace(),
		refusals:      ratelog.New(1, time.Second),
		insiders:      ratelog.New(1, time.Second),
		waiting:       map[*call]struct{}{},
		further:       map[net.Listener]*seats{},
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.SetAdmins(options.Admins)
	return s
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// SetAdmins replaces the uids besides 0 that may use every route, for
// requests that arrive from now on.
func (s *Server) SetAdmins(uids []uint32) {
	uids = slices.Clone(uids)
	s.admins.Store(&uids)
}

func (s *Server) isAdmin(uid uint32) bool {
	return uid == 0 || slices.Contains(*s.admins.Load(), uid)
}

// Serve accepts until Close is called, and then returns nil. It returns an error
// as soon as a listener fails for good; the others are served until Close.
func (s *Server) Serve() error {
	done := make(chan error, 3)
	go func() { done <- s.accept(s.options.Exec, execSocket, s.newSeats(nobody)) }()
	go func() { done <- s.accept(s.options.Admin, adminSocket, s.newSeats(nobody)) }()
	go func() { done <- s.accept(s.options.Token, tokenSocket, s.newSeats(nobody)) }()
	for range cap(done) {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

// ServeExec serves one more socket for commands, such as an agent's own, until
// it or the server is closed. Its connections count by themselves, so that
// whoever has it to itself leaves the other's free. Of sandboxes, those may use
// it that own says are its.
func (s *Server) ServeExec(listener net.Listener, own func(sandbox string) bool) error {
	seats := s.newSeats(own)
	seats.further = listener.Addr().String()
	s.mu.Lock()
	closing := s.closing
	if !closing {
		s.further[listener] = seats
	}
	s.mu.Unlock()
	if closing {
		return listener.Close()
	}
	err := s.accept(listener, execSocket, seats)
	s.mu.Lock()
	delete(s.further, listener)
	s.mu.Unlock()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// HangUp closes every connection that was made to a further socket, and so ends
// the commands that were asked for there, whoever holds the other end by now.
func (s *Server) HangUp(listener net.Listener) {
	s.mu.Lock()
	seats := s.further[listener]
	s.mu.Unlock()
	if seats != nil {
		seats.hangUp()
	}
}

// Close stops accepting and waits for the requests under way. When ctx ends
// first, it cancels them with cause ErrClosed and waits for them to return.
func (s *Server) Close(ctx context.Context) error {
	err := s.stopAccepting()
	done := make(chan struct{})
	go func() { s.calls.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.cancel(ErrClosed)
		<-done
	}
	s.cancel(ErrClosed)
	return err
}

func (s *Server) stopAccepting() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		close(s.stopping)
	}
	s.closing = true
	var errs []error
	for _, listener := range slices.AppendSeq([]net.Listener{s.options.Exec, s.options.Admin, s.options.Token}, maps.Keys(s.further)) {
		if listener == nil {
			continue
		}
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close listener: %w", err))
		}
	}
	// After the listeners: whoever is told so finds nobody to try again with.
	for c := range s.waiting {
		c.fail(errClosing)
		c.conn.Close()
	}
	return errors.Join(errs...)
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

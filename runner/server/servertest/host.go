// Package servertest serves runner/server with a Backend that runs commands
// on the host, without any sandbox, so that the client and the wire can be
// tested end to end by themselves. It imports runner/server and a library of
// terminals; only tests import it, and it is never linked into a binary.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// DeniedPolicy is refused to every caller, and UnknownPolicy does not exist.
const (
	DeniedPolicy  = "denied"
	UnknownPolicy = "unknown"
)

// Host is a server.Backend. Its zero value is ready.
type Host struct {
	// Causes is told the context's cause at the end of every invocation; nil
	// when the command ended by itself. A nil channel is told nothing.
	Causes chan error
	// Agents are those that it claims to keep up.
	Agents []api.Agent

	mu      sync.Mutex
	next    int
	running map[string]*invocation
	peers   []server.Peer
	secrets map[string]string
	tokens  map[string]*token
}

type invocation struct {
	sandbox api.Sandbox
	process *os.Process
}

// Peers lists who called Exec so far.
func (h *Host) Peers() []server.Peer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]server.Peer(nil), h.peers...)
}

// Exec implements server.Backend.
func (h *Host) Exec(ctx context.Context, peer server.Peer, req *api.ExecRequest, stdio server.Stdio, control <-chan api.Control, started func(string)) (*api.Result, error) {
	switch req.Policy {
	case DeniedPolicy:
		stdio.Close()
		return nil, &api.Error{Code: api.CodeDenied, Message: "the policy is not for you", Hint: "ask its owner"}
	case UnknownPolicy:
		stdio.Close()
		return nil, errors.New("there is no such policy")
	}
	h.mu.Lock()
	h.next++
	id := fmt.Sprintf("%012x", h.next)
	h.peers = append(h.peers, peer)
	h.mu.Unlock()
	result := &api.Result{ID: id, Policy: req.Policy, StartedAt: time.Now()}
	command, finish, err := h.begin(id, peer, req, stdio)
	if err != nil {
		return startFailure(result, err), nil
	}
	defer h.remove(id)
	started(id)
	reason := h.wait(ctx, req, command, control, finish)
	result.Wall = time.Since(result.StartedAt)
	describe(result, command.ProcessState, reason)
	if h.Causes != nil {
		h.Causes <- context.Cause(ctx)
	}
	return result, nil
}

func startFailure(result *api.Result, err error) *api.Result {
	result.ExitCode, result.Reason = api.ExitFailed, api.ReasonFailed
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound):
		result.ExitCode, result.Reason = api.ExitNotFound, api.ReasonNotFound
	case errors.Is(err, fs.ErrPermission):
		result.ExitCode, result.Reason = api.ExitNotExecutable, api.ReasonNotExecutable
	}
	return result
}

// wait serves control messages until the command ends, and says why it was
// ended if it did not end by itself.
func (h *Host) wait(ctx context.Context, req *api.ExecRequest, command *exec.Cmd, control <-chan api.Control, finish func(*api.Resize)) string {
	var limit <-chan time.Time
	if req.Timeout > 0 {
		limit = time.After(req.Timeout)
	}
	ended := make(chan struct{})
	go func() { command.Wait(); finish(nil); close(ended) }()
	reason, gone := "", ctx.Done()
	for {
		select {
		case <-ended:
			return reason
		case <-limit:
			reason = api.ReasonTimeout
			syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		case <-gone:
			reason, gone = api.ReasonCallerGone, nil
			syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		case c := <-control:
			if c.Resize != nil {
				finish(c.Resize)
				continue
			}
			syscall.Kill(-command.Process.Pid, syscall.Signal(c.Signal))
		}
	}
}

func describe(result *api.Result, state *os.ProcessState, reason string) {
	status := state.Sys().(syscall.WaitStatus)
	usage := state.SysUsage().(*syscall.Rusage)
	result.MaxRSS = usage.Maxrss << 10
	result.UserCPU, result.SystemCPU = state.UserTime(), state.SystemTime()
	result.ExitCode, result.Reason = status.ExitStatus(), api.ReasonExited
	if status.Signaled() {
		result.Signal = int(status.Signal())
		result.ExitCode, result.Reason = api.ExitSignal+result.Signal, api.ReasonSignaled
	}
	if reason != "" {
		result.Reason = reason
	}
	if reason == api.ReasonTimeout {
		result.ExitCode = api.ExitTimeout
	}
}

// begin starts a command. It is listed by the time anybody can know of it.
func (h *Host) begin(id string, peer server.Peer, req *api.ExecRequest, stdio server.Stdio) (*exec.Cmd, func(*api.Resize), error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	command, finish, err := start(req, stdio)
	if err != nil {
		return nil, nil, err
	}
	if h.running == nil {
		h.running = map[string]*invocation{}
	}
	words := make([]string, len(req.Argv))
	for i, word := range req.Argv {
		words[i] = string(word)
	}
	caller := fmt.Sprint(peer.UID)
	if peer.Holder != nil {
		caller = "token:" + peer.Holder.Name
	}
	h.running[id] = &invocation{process: command.Process, sandbox: api.Sandbox{
		ID: id, Policy: req.Policy, State: "running", Command: strings.Join(words, " "),
		Caller: caller, Session: req.Session, Sender: req.Sender, Channel: req.Channel, Call: req.Call, Engine: "host",
		Pid: command.Process.Pid, Created: time.Now(), Processes: 1,
	}}
	return command, finish, nil
}

func (h *Host) remove(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, id)
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/pidfd"
	"github.com/creel-sandbox/creel/runner/posture"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// defaultPath is the PATH of a command whose policy and caller name none;
// that of a Debian user (login.defs, ENV_PATH) without the games.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

func (s *Supervisor) openRoot(ctx context.Context, inv *invocation) error {
	root, err := inv.engine.Prepare(ctx, inv.policy, inv.who)
	inv.root = root
	return err
}

func (s *Supervisor) closeRoot(inv *invocation) error { return inv.root.Release() }

// tmp is the /tmp of the session; nil: it gets its own.
func (inv *invocation) tmp() *rootfs.Tmp {
	if inv.shared == nil {
		return nil
	}
	return inv.shared.tmp
}

func (s *Supervisor) createSandbox(ctx context.Context, inv *invocation) error {
	sandbox, err := inv.engine.Create(ctx, engine.Request{ID: inv.id, Policy: inv.policy, Who: inv.who, Root: inv.root, Tmp: inv.tmp()})
	if err != nil {
		return err
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.sandbox = sandbox
	return nil
}

// removeSandbox ends whatever still runs, waits for the init, and removes the
// container with the init's zombie, for which nobody waits.
func (s *Supervisor) removeSandbox(inv *invocation) error {
	pidfd.Kill(inv.sandbox.Pidfd)
	inv.sandbox.Control.Close() // a session has closed it already
	err := pidfd.Wait(inv.sandbox.Pidfd)
	s.lull.wait()
	return errors.Join(
		err,
		inv.sandbox.Pidfd.Close(),
		inv.engine.Remove(context.Background(), inv.id),
	)
}

func (s *Supervisor) greetInit(ctx context.Context, inv *invocation) error {
	session, err := initproto.NewSupervisor(inv.sandbox.Control)
	if err != nil {
		return err
	}
	listeners, err := session.Handshake(ctx, initproto.Setup{Listen: doors(inv.policy.Network)})
	if err != nil {
		session.Close()
		return err
	}
	inv.mu.Lock()
	inv.session = session
	inv.mu.Unlock()
	for _, fd := range listeners {
		inv.listeners = append(inv.listeners, os.NewFile(uintptr(fd), "listener"))
	}
	return nil
}

func (s *Supervisor) dismissInit(inv *invocation) error {
	inv.session.Close() // it may be closed already, by the init's last frame
	for _, listener := range inv.listeners {
		listener.Close() // the relay has its own, if it came that far
	}
	return nil
}

// comparePosture holds what the kernel says of the sandbox against what the
// policy promises. Any difference refuses the run.
func (s *Supervisor) comparePosture(_ context.Context, inv *invocation) error {
	got, err := posture.Read(inv.sandbox.Pid, inv.sandbox.Group)
	if err != nil {
		return err
	}
	want, err := posture.Predict(posture.Subject{
		Engine: inv.made, Policy: inv.policy, Who: inv.who, Root: inv.root.View, Tmp: inv.tmp(), Group: inv.sandbox.Group,
	})
	if err != nil {
		return err
	}
	differences := posture.Compare(want, got)
	if len(differences) == 0 {
		inv.mu.Lock()
		defer inv.mu.Unlock()
		inv.pidNamespace = got.Namespaces["pid"]
		return nil
	}
	s.cfg.Log.WithField("sandbox", inv.id).WithField("differences", differences).
		Error("refused a sandbox whose posture is not what its policy promises")
	return &api.Error{
		Code: "posture", ExitCode: api.ExitFailed, Details: differences,
		Message: "the sandbox is not what policy " + inv.policy.Name + " promises: " + strings.Join(differences, "; "),
		Hint:    "nothing was run; creel doctor tells what this host lacks",
	}
}

func (s *Supervisor) startCommand(ctx context.Context, inv *invocation) error {
	job := initproto.Job{
		Argv: inv.req.Argv, Env: environment(inv), Cwd: inv.req.Cwd,
		TTY: inv.req.TTY, Linger: inv.lingers(), Filter: inv.filter,
	}
	if job.Cwd == "" {
		job.Cwd = inv.policy.Workdir
	}
	if job.TTY {
		job.Rows, job.Cols = inv.req.Rows, inv.req.Cols
	}
	err := send(ctx, inv, job)
	var failed *initproto.StartError
	refused := errors.As(err, &failed)
	inv.begun = !refused && !errors.Is(err, initproto.ErrJob)
	if refused {
		return startProblem(inv, job, failed)
	}
	if err != nil {
		return err
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.state = stateRunning
	inv.req.Argv, inv.req.Env = nil, nil // they may be 2 MiB, for as long as it runs
	return nil
}

// send has the job started with its credentials, of which nothing is left here
// when it returns, but for what the redactor looks for.
func send(ctx context.Context, inv *invocation, job initproto.Job) error {
	secrets, err := newEntries(inv.secrets)
	if err != nil {
		return err
	}
	defer credential.DestroyAll(inv.secrets)
	defer secrets.free()
	if len(secrets) > 0 {
		job.Env = append(job.Env, secrets.strings()...)
		inv.session.Memory = lockedMemory
	}
	stdio := inv.output.stdio
	inv.launched = time.Now()
	err = inv.session.Start(ctx, job, [3]syscall.Conn{stdio[0], stdio[1], stdio[2]})
	inv.output.release() // the command has its own by now, or never will
	return err
}

// environment is that of the command, weakest first: the defaults, where the
// proxy is, the policy's, and last the caller's. A later name takes the place
// of an earlier one. The credentials follow it; no caller can set what they are
// called.
func environment(inv *invocation) [][]byte {
	env := [][]byte{
		[]byte("PATH=" + defaultPath), []byte("HOME=/tmp"),
		[]byte("USER=" + inv.who.Name), []byte("LOGNAME=" + inv.who.Name),
	}
	env = append(env, proxyEnv(inv.policy.Network)...)
	for _, v := range inv.policy.Env {
		env = append(env, []byte(v.Name+"="+v.Value))
	}
	env = append(env, inv.req.Env...)
	last := map[string]int{}
	for i, entry := range env {
		name, _, _ := strings.Cut(string(entry), "=")
		last[name] = i
	}
	var out [][]byte
	for i, entry := range env {
		if name, _, _ := strings.Cut(string(entry), "="); last[name] == i {
			out = append(out, entry)
		}
	}
	return out
}

// startProblem tells the caller, as a shell would, why the command could not
// be started (exit codes 126 and 127 of POSIX 2.8.2).
func startProblem(inv *invocation, job initproto.Job, failed *initproto.StartError) error {
	command := commandLine(job.Argv[:1])
	out := &api.Error{Code: "launch-failed", Message: failed.Error(), ExitCode: api.ExitFailed, Hint: "creel doctor tells what this host lacks"}
	switch {
	case failed.Step == initproto.StepChdir:
		out.Code, out.Message = api.CodeBadRequest, fmt.Sprintf("cwd %s: %v", job.Cwd, failed.Errno)
		out.Hint = "give a directory that exists inside the sandbox, such as " + inv.policy.Workdir
	case failed.Step != initproto.StepExec:
	case failed.Errno == unix.ENOENT || failed.Errno == unix.ENOTDIR:
		out.Code, out.ExitCode = api.ReasonNotFound, api.ExitNotFound
		out.Message, out.Hint = command+": not found in the sandbox", "the sandbox sees only its root and the declared mounts"
	case failed.Errno == unix.E2BIG:
		out.Code, out.Message = api.CodeBadRequest, "arguments and environment: more than execve(2) takes"
		out.Hint = "pass large data on standard input or in a file of the workspace"
	default:
		out.Code, out.ExitCode = api.ReasonNotExecutable, api.ExitNotExecutable
		out.Message, out.Hint = fmt.Sprintf("%s: %v", command, failed.Errno), "check that it is an executable file for the sandbox's user"
	}
	return out
}

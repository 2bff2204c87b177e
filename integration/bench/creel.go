package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

// The policies of each supervisor. All are full: read-only root, workspace,
// seccomp filters, limits, namespaces and the gateway's listener.
const (
	cold     = "cold"     // no pool
	warm     = "warm"     // a pool
	packed   = "packed"   // little memory, to have hundreds at once
	redacted = "redacted" // a credential, and so a redactor on the output
)

// poolSize is how many sandboxes wait for the policies with a pool: the most
// that a supervisor keeps. Docker takes seconds for a few.
var poolSize = map[string]int{"crun": 64, "runc": 64, "docker": 8}

// creel is one supervisor, and its client in this process.
type creel struct {
	*testrig.Rig
	*client.Client
	maker string // crun, runc or docker
	size  int    // of its pool
	group string // that holds the control groups of its sandboxes

	waiting int   // in the pool, when it was last still
	absent  bool  // nothing waited when it was last still
	stuck   error // why it is waited for no more
}

// startCreel starts a supervisor and adds its contenders.
func (b *bench) startCreel(maker string) {
	var c *creel
	if err := b.tb.Try(func() { c = b.supervise(maker) }); err != nil {
		for _, name := range creelNames(maker) {
			b.add(contender{name: name, missing: err.Error()})
		}
		return
	}
	b.rigs = append(b.rigs, c)
	for _, policy := range []string{cold, warm} {
		api := contender{name: throughAPI(maker, policy), once: c.once(b, policy)}
		shell := contender{name: throughShell(maker, policy), once: c.shell(b, policy)}
		if policy == warm {
			api.warm, api.paced, api.sustained = c, true, true
			shell.warm, shell.paced, shell.sustained = c, true, maker == "crun"
		}
		b.add(api)
		b.add(shell)
	}
	if maker != "docker" {
		b.add(contender{name: throughAPI(maker, bursts), once: c.once(b, warm), warm: c, paced: true, burst: true})
	}
	if maker == "crun" {
		b.add(contender{name: throughAPI(maker, redacted), once: c.once(b, redacted)})
	}
}

// bursts is how the contenders are called that empty the pool.
const bursts = "warm in bursts"

func throughAPI(maker, policy string) string { return fmt.Sprintf("creel, %s, %s, API", maker, policy) }
func throughShell(maker, policy string) string {
	return fmt.Sprintf("creel, %s, %s, shell", maker, policy)
}

func creelNames(maker string) []string {
	names := []string{throughAPI(maker, cold), throughShell(maker, cold), throughAPI(maker, warm), throughShell(maker, warm)}
	if maker != "docker" {
		names = append(names, throughAPI(maker, bursts))
	}
	if maker == "crun" {
		names = append(names, throughAPI(maker, redacted))
	}
	return names
}

// supervise starts one supervisor with its policies.
func (b *bench) supervise(maker string) *creel {
	secrets := filepath.Join(b.dir, "credentials")
	b.tb.Check(os.MkdirAll(secrets, 0o700))
	b.tb.Check(os.WriteFile(filepath.Join(secrets, "token"), []byte("bench-0f6c1b52d3a94e8b"), 0o400))
	o := testrig.Options{Runtime: maker, Env: []string{"CREDENTIALS_DIRECTORY=" + secrets}}
	if maker == "docker" {
		o.Runtime = "crun"
		o.Config = "engine: docker\ndockerSocket: " + b.daemon().Socket + "\n"
		o.Policy = "userNamespace: off"
	}
	rig := testrig.Start(b.tb, o)
	c := &creel{Rig: rig, maker: maker, size: poolSize[maker]}
	c.Client = &client.Client{ExecSocket: rig.Dir + "/run/exec.sock", AdminSocket: rig.Dir + "/run/admin.sock"}
	for name, lines := range map[string]string{
		cold:     "",
		warm:     fmt.Sprintf("pool: {warm: %d}", c.size),
		packed:   "limits: {memory: 32MiB, pids: 16, timeout: 30m}",
		redacted: "credentials: [{env: BENCH_TOKEN, from: \"systemd:token\"}]",
	} {
		rig.WritePolicy(name, rig.PolicyText(name, b.policy(maker, lines)))
	}
	rig.Reload()
	c.group = rig.Group()
	// What is made once for a policy is no part of any row, and no leak.
	for _, policy := range []string{cold, warm, packed, redacted} {
		if err := within(fillTime, c.once(b, policy))(context.Background()); err != nil {
			b.tb.Fatalf("%s: run a command of policy %s: %v", maker, policy, err)
		}
	}
	return c
}

// policy is what is added to a rig's default policy.
func (b *bench) policy(maker, lines string) string {
	if !strings.Contains(lines, "limits:") {
		lines += "\nlimits: {memory: 64MiB, pids: 64, timeout: 30m}"
	}
	if maker == "docker" {
		lines += "\nuserNamespace: off"
	}
	return lines + "\nnetwork: {gateway: " + b.gateway + "}"
}

// request asks for a command that busybox knows.
func (b *bench) request(policy string, argv ...string) api.ExecRequest {
	request := api.ExecRequest{Policy: policy, Argv: [][]byte{[]byte(b.busybox)}}
	for _, arg := range argv {
		request.Argv = append(request.Argv, []byte(arg))
	}
	return request
}

// once runs a command through the client in this process.
func (c *creel) once(b *bench, policy string) func(context.Context) error {
	return func(ctx context.Context) error {
		return c.run(ctx, &client.Exec{Request: b.request(policy, "true")})
	}
}

func (c *creel) run(ctx context.Context, e *client.Exec) error {
	result, err := c.Exec(ctx, e)
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("the command ended with %d (%s)", result.ExitCode, result.Reason)
	}
	return err
}

// shell runs a command as a script does, the start of the client included.
func (c *creel) shell(b *bench, policy string) func(context.Context) error {
	cmd := c.Command("exec", "--policy", policy, "--", b.busybox, "true")
	return func(ctx context.Context) error {
		return b.start(ctx, append([]string{cmd.Path}, cmd.Args[1:]...), cmd.Env)
	}
}

// Exec of the client, which the rig's own Exec would hide.
func (c *creel) Exec(ctx context.Context, e *client.Exec) (*api.Result, error) {
	return c.Client.Exec(ctx, e)
}

// stopCreel stops the supervisors. What they leave is a problem.
func (b *bench) stopCreel() {
	for _, c := range b.rigs {
		group := c.group
		c.StopSupervisor()
		for _, left := range leftBehind(c.Dir, group) {
			b.report.problem("%s: left after creeld stopped: %s", c.maker, left)
		}
	}
}

var _ io.Writer = (*counter)(nil)

// counter drops what it is given.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

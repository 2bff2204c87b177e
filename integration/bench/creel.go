package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

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
}

// startCreel starts a supervisor for each maker and adds its contenders.
func (b *bench) startCreel(makers ...string) {
	for _, maker := range makers {
		var c *creel
		if err := b.tb.try(func() { c = b.supervise(maker) }); err != nil {
			for _, name := range creelNames(maker) {
				b.add(contender{name: name, missing: err.Error()})
			}
			continue
		}
		b.rigs = append(b.rigs, c)
		for _, policy := range []string{cold, warm} {
			var p *pool
			if policy == warm {
				p = &pool{creel: c, policy: warm}
			}
			sustained := maker != "docker" || policy == warm
			b.add(contender{name: throughAPI(maker, policy), once: c.once(b, policy), warm: p, sustained: sustained && policy == warm})
			b.add(contender{name: throughShell(maker, policy), once: c.shell(b, policy), warm: p, sustained: policy == warm && maker == "crun"})
		}
		if maker != "docker" {
			b.add(contender{name: throughAPI(maker, "warm in bursts"), once: c.once(b, warm), warm: &pool{creel: c, policy: warm}, burst: true})
		}
		if maker == "crun" {
			b.add(contender{name: throughAPI(maker, redacted), once: c.once(b, redacted)})
		}
	}
}

func throughAPI(maker, policy string) string { return fmt.Sprintf("creel, %s, %s, API", maker, policy) }
func throughShell(maker, policy string) string {
	return fmt.Sprintf("creel, %s, %s, shell", maker, policy)
}

func creelNames(maker string) []string {
	return []string{throughAPI(maker, cold), throughShell(maker, cold), throughAPI(maker, warm), throughShell(maker, warm)}
}

// supervise starts one supervisor with its policies.
func (b *bench) supervise(maker string) *creel {
	if maker == "docker" && b.docker == nil {
		b.tb.Fatalf("there is no Docker daemon")
	}
	secrets := filepath.Join(b.dir, "credentials")
	b.tb.check(os.MkdirAll(secrets, 0o700))
	b.tb.check(os.WriteFile(filepath.Join(secrets, "token"), []byte("bench-0f6c1b52d3a94e8b"), 0o400))
	o := testrig.Options{Runtime: maker, Env: []string{"CREDENTIALS_DIRECTORY=" + secrets}}
	if maker == "docker" {
		o.Runtime = "crun"
	}
	rig := testrig.Start(b.tb, o)
	c := &creel{Rig: rig, maker: maker, size: poolSize[maker]}
	c.Client = &client.Client{ExecSocket: rig.Dir + "/run/exec.sock", AdminSocket: rig.Dir + "/run/admin.sock"}
	if maker == "docker" {
		rig.StopSupervisor()
		rig.WriteConfig(fmt.Sprintf("runtimeDir: %s/run\npolicyDir: %s\nauditDir: %s/audit\ninitPath: %s\ngroup: nogroup\nengine: docker\ndockerSocket: %s\n",
			rig.Dir, rig.Policies, rig.Dir, b.beside("creel-init"), b.docker.Socket))
		rig.WritePolicy(api.DefaultPolicy, rig.PolicyText(api.DefaultPolicy, "userNamespace: off"))
		rig.StartSupervisor()
	}
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
		if err := c.once(b, policy)(context.Background()); err != nil {
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

// beside is a program that `make build` made.
func (b *bench) beside(name string) string { return filepath.Join(testrig.Binaries(b.tb), name) }

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

// pool is the part of a supervisor's pool that one policy has.
type pool struct {
	*creel
	policy string
	absent bool // it was never seen to hold any
}

// fillTime is how long an empty pool may take until it is full, and stillTime
// how long it must not have grown when it does not become full.
const (
	fillTime  = 60 * time.Second
	stillTime = 2 * time.Second
)

// settle waits until nothing runs, nothing is being taken away, and the pool
// has what it will have. It gives how many wait.
func (p *pool) settle(ctx context.Context) (int, error) {
	most, grew := 0, time.Now()
	for began := time.Now(); ; {
		waiting, busy, err := p.count(ctx)
		if err != nil {
			return 0, err
		}
		switch still := time.Since(grew) > stillTime; {
		case busy == 0 && (waiting >= p.size || p.absent || still):
			p.absent = waiting == 0
			return waiting, nil
		case time.Since(began) > fillTime:
			return 0, fmt.Errorf("%s: %d sandboxes still busy after %v", p.maker, busy, fillTime)
		}
		if waiting > most || busy > 0 {
			most, grew = waiting, time.Now()
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// count tells those that wait for a job from all others.
func (p *pool) count(ctx context.Context) (waiting, busy int, err error) {
	reply, err := p.Ps(ctx, false)
	if err != nil {
		return 0, 0, err
	}
	for _, sandbox := range reply.Sandboxes {
		switch {
		case sandbox.State == "warm" && sandbox.Policy == p.policy:
			waiting++
		case sandbox.State != "warm":
			busy++
		}
	}
	return waiting, busy, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

var _ io.Writer = (*counter)(nil)

// counter drops what it is given.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

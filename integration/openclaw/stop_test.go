package openclaw

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestOpenClawIsConfinedAndComesBack looks at OpenClaw's own process as the
// kernel sees it, and kills that.
func TestOpenClawIsConfinedAndComesBack(t *testing.T) {
	s := start(t)
	a := s.claw.gateway.(*agent)
	before := a.row()
	pid := a.pid(t)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	check(t, err)
	user := fmt.Sprintf("%d\t%[1]d\t%[1]d\t%[1]d", testrig.User)
	for _, want := range []string{"Uid:\t" + user, "Gid:\t" + user, "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want+"\n") {
			t.Errorf("of OpenClaw's process the kernel does not say %q:\n%s", want, status)
		}
	}
	for _, namespace := range []string{"user", "pid", "mnt", "net", "ipc", "uts"} {
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, namespace))
		check(t, err)
		own, err := os.Readlink("/proc/self/ns/" + namespace)
		check(t, err)
		if its == own {
			t.Errorf("its %s namespace is the host's", namespace)
		}
	}
	for _, one := range s.List() {
		if one.ID == before.Sandbox && !slices.Equal(one.Weaker, []string{"network.egress"}) {
			t.Errorf("besides what it may reach it is weaker than it could be: %v", one.Weaker)
		}
	}
	s.claw.Kill()
	s.startAgent()
	if after := a.row(); after.Sandbox == before.Sandbox || after.Restarts != before.Restarts+1 {
		t.Errorf("it was %+v and is %+v", before, after)
	}
	s.works(t)
}

// TestKilledOpenClawLeavesNoSandbox kills it amid a command that it waits for
// and one in the background, which both resist.
func TestKilledOpenClawLeavesNoSandbox(t *testing.T) {
	s := start(t)
	t.Run("in a sandbox of its own", s.killAmidCommands)
	t.Run("as a process of the host", func(t *testing.T) { s.besides(t).killAmidCommands(t) })
}

// TestOpenClawComesBackFromWhatItCannotSee has it stopped by a signal that
// nothing catches, and given too little memory to start.
func TestOpenClawComesBackFromWhatItCannotSee(t *testing.T) {
	s := start(t)
	a := s.claw.gateway.(*agent)
	t.Run("hung", func(t *testing.T) {
		call, _ := s.background(t, "hung", "trap '' TERM; while :; do sleep 1; done")
		s.Eventually("a command runs", func() bool { got := s.of(call); return len(got) == 1 && got[0].State == "running" })
		before := a.row()
		check(t, syscall.Kill(a.pid(t), syscall.SIGSTOP))
		s.slowly(t, "it is started anew", func() bool { now := a.row(); return now.Sandbox != "" && now.Sandbox != before.Sandbox })
		s.Eventually("its command has ended", func() bool { return s.ended(call) })
		s.works(t)
	})
	t.Run("out of memory", func(t *testing.T) {
		s.WritePolicy("openclaw-agent", strings.Replace(s.policy(), "memory: 2GiB", "memory: 192MiB", 1))
		s.Reload()
		s.slowly(t, "it is out of memory", func() bool { return strings.Contains(a.row().Problem, "oom") })
		s.WritePolicy("openclaw-agent", s.policy())
		s.Reload()
		s.works(t)
	})
}

// slowly waits for what takes some of OpenClaw's starts.
func (s *stage) slowly(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s\n%s", what, s.claw.Log())
		}
	}
}

// works wants the agent to get ready and a command of its to run.
func (s *stage) works(t *testing.T) {
	t.Helper()
	s.startAgent()
	if _, result := s.do(t, "exec", sh("echo back")); !strings.Contains(result, "back") {
		t.Errorf("the model was told %q", result)
	}
}

// nogroup is the group that a rig's sockets are for.
const nogroup = 65534

// besides is the stage with another OpenClaw, a process without privilege.
func (s *stage) besides(t *testing.T) *stage {
	creel := map[string]any{"program": s.Dir + "/bin/creel", "socket": s.Dir + "/run/exec.sock"}
	return s.onTheHost(t, "host", creel, Options{})
}

// onTheHost is the stage with another OpenClaw, which is no agent but a process
// without privilege, and which no chat reaches. Its configuration is laid over
// the stage's.
func (s *stage) onTheHost(t testing.TB, name string, creel map[string]any, o Options) *stage {
	t.Helper()
	o.Dir, o.UID, o.GID, o.Groups, o.Token = s.Dir+"/"+name, testrig.User, testrig.User, []uint32{nogroup}, s.claw.Token
	o.Secrets = []string{"PROVIDER_KEY=" + string(s.canaries["provider-key"])}
	o.Env = append(o.Env, "NODE_EXTRA_CA_CERTS="+s.trusted(s.authority))
	config := s.config(creel)
	lay(config, s.onHost(o.Dir+"/data/openclaw.log"))
	lay(config, o.Config)
	delete(config, "channels") // a bot has one reader
	o.Config = config
	other := *s
	other.claw = New(t, o)
	other.claw.Start()
	t.Cleanup(func() {
		if other.claw.Running() {
			other.claw.Kill()
		}
	})
	return &other
}

func (s *stage) killAmidCommands(t *testing.T) {
	const stubborn = "trap '' TERM HUP INT; setsid sh -c 'while :; do sleep 1; done' & while :; do sleep 1; done"
	background, _ := s.background(t, "killed", stubborn)
	waited := NewCall("exec", sh(stubborn))
	request := s.claw.Request("waits", waited.Message(), nil)
	done := make(chan error)
	go func() {
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	for _, call := range []Call{background, waited} {
		s.Eventually("it runs", func() bool { got := s.of(call); return len(got) == 1 && got[0].State == "running" })
	}
	s.claw.Kill()
	<-done
	for _, call := range []Call{background, waited} {
		s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
		if got := s.of(call); got[0].Result.Reason != "caller-gone" {
			t.Errorf("ps says %+v", got)
		}
	}
}

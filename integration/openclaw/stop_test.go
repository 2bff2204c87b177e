package openclaw

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
// nothing catches, and by the kernel for want of memory, amid a command.
func TestOpenClawComesBackFromWhatItCannotSee(t *testing.T) {
	s := start(t)
	a := s.claw.gateway.(*agent)
	t.Run("hung", func(t *testing.T) {
		call, _ := s.background(t, "hung", "trap '' TERM; while :; do sleep 1; done")
		s.Eventually("a command runs", func() bool { return s.runs(call) })
		before := a.row()
		check(t, syscall.Kill(a.pid(t), syscall.SIGSTOP))
		s.slowly(t, "it is started anew", func() bool { now := a.row(); return now.Sandbox != "" && now.Sandbox != before.Sandbox })
		s.abandoned(t, call)
		s.works(t)
	})
	t.Run("out of memory", func(t *testing.T) {
		call, _ := s.background(t, "starved", "trap '' TERM; while :; do sleep 1; done")
		s.Eventually("a command runs", func() bool { return s.runs(call) })
		before := a.row()
		group := s.group(t, before.Sandbox)
		s.slowly(t, "it is started anew", func() bool {
			now := a.row()
			if now.Sandbox == before.Sandbox {
				squeeze(t, group)
				s.claw.Healthy() // which takes some memory
			}
			return now.Sandbox != "" && now.Sandbox != before.Sandbox
		})
		s.abandoned(t, call)
		list := s.List("-a")
		if i := slices.IndexFunc(list, func(one testrig.Sandbox) bool { return one.ID == before.Sandbox }); i < 0 || list[i].Result == nil || list[i].Result.Reason != "oom" {
			t.Errorf("ps does not say that %s was out of memory:\n%s", before.Sandbox, s.Creel("ps", "-a").Stdout)
		}
		s.works(t)
		if after := a.row(); after.Restarts != before.Restarts+1 {
			t.Errorf("it was %+v and is %+v", before, after)
		}
	})
}

// group is the control group of a sandbox, in the hierarchy that bounds memory.
func (s *stage) group(t *testing.T, id string) string {
	t.Helper()
	var one struct{ Cgroup string }
	check(t, json.Unmarshal([]byte(s.Creel("inspect", id).Stdout), &one))
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/memory"} {
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			if _, err := os.Stat(filepath.Join(hierarchy, one.Cgroup, file)); err == nil {
				return filepath.Join(hierarchy, one.Cgroup)
			}
		}
	}
	t.Fatalf("no hierarchy bounds the memory of %+v", one)
	return ""
}

// populated reports whether the kernel has a process in the control group of a
// sandbox.
func populated(id string) bool {
	memberships, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	return slices.ContainsFunc(memberships, func(path string) bool {
		data, _ := os.ReadFile(path) // of a process that may have ended
		return strings.Contains(string(data), "/"+id)
	})
}

// squeeze has the kernel take the memory away that a group's processes use: a
// group of cgroup v2 at once (memory.max, cgroup-v2.rst), one of v1 with the
// next page, since there a limit cannot be below what is in use.
func squeeze(t *testing.T, group string) {
	t.Helper()
	file, limit := "memory.max", []byte("67108864")
	if used, err := os.ReadFile(filepath.Join(group, "memory.usage_in_bytes")); err == nil {
		file, limit = "memory.limit_in_bytes", used
		// There the limit of memory and swap together stays above it.
		_ = os.WriteFile(filepath.Join(group, "memory.swappiness"), []byte("0"), 0)
	}
	switch err := os.WriteFile(filepath.Join(group, file), limit, 0); {
	case err == nil, os.IsNotExist(err), errors.Is(err, syscall.ENODEV): // it is gone
	case errors.Is(err, syscall.EBUSY): // it used more meanwhile
	default:
		t.Fatal(err)
	}
}

// abandoned wants that the end of OpenClaw ended a command of its, and that
// nothing is left of that.
func (s *stage) abandoned(t *testing.T, call Call) {
	t.Helper()
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
	one := s.fresh(t, call, nobody)[0]
	if one.Result.Reason != "caller-gone" {
		t.Errorf("ps says %+v", one)
	}
	s.Eventually("no process of it is left", func() bool { return !populated(one.ID) })
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
		s.Eventually("it runs", func() bool { return s.runs(call) })
	}
	s.claw.Kill()
	<-done
	for _, call := range []Call{background, waited} {
		s.abandoned(t, call)
	}
}

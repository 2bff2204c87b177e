package enginetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestSandboxMadeAheadHoldsNothingOfACommand looks through the memory of the
// sandboxes that wait, after others like them were used.
func TestSandboxMadeAheadHoldsNothingOfACommand(t *testing.T) {
	on(t, those(func(t testrig.Target) bool { return t.Warm }), nil, func(t *testing.T, s *site) {
		secret := canary + "-credential"
		s.write(s.outside+"/secret", secret)
		s.check(os.Chmod(s.outside+"/secret", 0o600))
		s.declare("secretive", `credentials: [{env: TOKEN, from: "exec:/usr/bin/cat `+s.outside+`/secret"}]`)
		s.Reload()
		s.Stocked("secretive")
		for range 3 {
			run := s.begin(t, "secretive", "sh", "-c", `printf 'ready\t""\n'; read x; : `+canary+"-argument")
			// Its output may be here before the list says that it runs.
			s.Eventually("the command is listed as running", func() bool { return len(s.pids()["running"]) > 0 })
			if control := memoryOf(t, s.pids()["running"]); !strings.Contains(control, secret) || !strings.Contains(control, canary+"-argument") {
				t.Error("control: what runs has neither")
			}
			s.Stocked("secretive")
			for _, pid := range s.pids()["warm"] {
				if memory := memoryOf(t, []int{pid}); memory == "" || strings.Contains(memory, canary) {
					t.Errorf("a sandbox that waits: %d bytes, the canary: %v", len(memory), strings.Contains(memory, canary))
				}
			}
			run.end(t)
		}
		if !strings.Contains(s.lastSteps(), "taken from the pool") {
			t.Error("no command was given a sandbox that waited")
		}
	})
}

// pids gives the pids of sandboxes by their state.
func (s *site) pids() map[string][]int {
	s.t.Helper()
	pids := map[string][]int{}
	for _, sandbox := range s.List("-a") {
		pids[sandbox.State] = append(pids[sandbox.State], sandbox.Pid)
	}
	return pids
}

// lastSteps are the launch steps of the command that was started last.
func (s *site) lastSteps() string {
	s.t.Helper()
	for _, sandbox := range s.List("-a") {
		if sandbox.State == "ended" {
			return s.Creel("inspect", sandbox.ID).Stdout
		}
	}
	return ""
}

// memoryOf reads all writable memory of processes and of their children, with
// what proc(5) says of their arguments and environments.
func memoryOf(t *testing.T, pids []int) string {
	t.Helper()
	var found bytes.Buffer
	for _, pid := range pids {
		lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // any thread may have forked
		if err != nil || len(lists) == 0 {
			t.Fatalf("children of %d: %v", pid, err)
		}
		family := []string{fmt.Sprint(pid)}
		for _, list := range lists {
			children, _ := os.ReadFile(list) // of a thread that has ended: none
			family = append(family, strings.Fields(string(children))...)
		}
		for _, one := range family {
			for _, name := range []string{"cmdline", "environ"} {
				data, _ := os.ReadFile("/proc/" + one + "/" + name)
				found.Write(data)
			}
			mapped(t, one, &found)
		}
	}
	return found.String()
}

// mapped adds a process's writable memory (proc(5), maps and mem).
func mapped(t *testing.T, pid string, found *bytes.Buffer) {
	t.Helper()
	maps, err := os.ReadFile("/proc/" + pid + "/maps")
	if err != nil {
		return // a child that has ended
	}
	memory, err := os.Open("/proc/" + pid + "/mem")
	if err != nil {
		return
	}
	defer memory.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode[:2] != "rw" || to-from > 256<<20 {
			continue
		}
		data := make([]byte, to-from)
		n, _ := memory.ReadAt(data, from) // as far as it can be read
		found.Write(data[:n])
	}
}

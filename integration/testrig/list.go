package testrig

import (
	"encoding/json"
	"path/filepath"
	"slices"
)

// Sandbox is what ps says of one.
type Sandbox struct {
	ID, State, Policy, Command     string
	Session, Sender, Channel, Call string
	Pid, Processes                 int
	Weaker                         []string
	Leases                         []struct{ State string }
	Result                         *struct { // of one that has ended
		Reason   string
		ExitCode int
	}
}

// Agent is what ps says of one.
type Agent struct {
	Name, State, Sandbox, Problem string
	Restarts                      int
}

// List is what ps lists, the newest first; with "-a" also what has ended.
func (r *Rig) List(flags ...string) []Sandbox {
	r.t.Helper()
	return r.ps(flags...).Sandboxes
}

// Agents are those that ps tells of.
func (r *Rig) Agents() []Agent {
	r.t.Helper()
	return r.ps().Agents
}

type listed struct {
	Sandboxes []Sandbox
	Agents    []Agent
}

func (r *Rig) ps(flags ...string) (reply listed) {
	r.t.Helper()
	got := r.Creel(append([]string{"ps", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(got.Stdout), &reply); err != nil {
		r.t.Fatalf("ps said %q %q: %v", got.Stdout, got.Stderr, err)
	}
	return reply
}

// Stocked waits until a sandbox waits for a command of each of these policies.
func (r *Rig) Stocked(policies ...string) {
	r.t.Helper()
	r.Eventually("sandboxes wait", func() bool {
		list := r.List()
		return !slices.ContainsFunc(policies, func(name string) bool {
			return !slices.ContainsFunc(list, func(s Sandbox) bool { return s.Policy == name && s.State == "warm" })
		})
	})
}

// Group is the control group that holds the supervisor's sandboxes, as
// inspect names it.
func (r *Rig) Group() string {
	r.t.Helper()
	if r.group != "" {
		return r.group
	}
	if got := r.Exec("true"); got.Code != 0 {
		r.t.Fatalf("run a command: %s\n%s", got.Stderr, r.log)
	}
	var list []Sandbox
	r.Eventually("the command is listed as ended", func() bool {
		list = r.List("-a")
		return len(list) > 0
	})
	var one struct{ Cgroup string }
	check(r.t, json.Unmarshal([]byte(r.Creel("inspect", list[0].ID).Stdout), &one))
	r.group = filepath.Dir(one.Cgroup)
	return r.group
}

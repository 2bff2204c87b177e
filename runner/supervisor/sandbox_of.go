package supervisor

import (
	"maps"
	"os"
	"sync"

	"github.com/creel-sandbox/creel/runner/posture"
)

// ownPIDNamespace is creeld's, which no process ever leaves.
var ownPIDNamespace = sync.OnceValues(func() (string, error) { return posture.PIDNamespace(os.Getpid()) })

// SandboxOf says in which sandbox a process is, or "" for one outside: no
// process leaves the PID namespace that it was made in (pid_namespaces(7)), and
// none can make another in a sandbox. The error of one that has ended wraps
// ENOENT or ESRCH.
func (s *Supervisor) SandboxOf(pid int32) (string, error) {
	its, err := posture.PIDNamespace(int(pid))
	if err != nil {
		return "", err
	}
	own, err := ownPIDNamespace()
	if err != nil || its == own { // as nearly everybody who calls
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, all := range []map[string]*invocation{s.live, s.warm} {
		for inv := range maps.Values(all) {
			if inv.isIn(its) {
				return inv.id, nil
			}
		}
	}
	return "", nil
}

// isIn says whether a PID namespace is the sandbox's.
func (inv *invocation) isIn(namespace string) bool {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return inv.pidNamespace == namespace
}

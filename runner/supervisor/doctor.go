package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
)

// The levels of a finding.
const (
	levelOK      = "ok"
	levelWarning = "warning"
	levelError   = "error"
)

// checks are what the doctor looks at, in the order it tells.
var checks = []struct {
	name string
	run  func(*Supervisor, context.Context) api.Finding
}{
	{"kernel", (*Supervisor).checkKernel},
	{"control groups", (*Supervisor).checkCgroups},
	{"seccomp", (*Supervisor).checkSeccomp},
	{"overlayfs", (*Supervisor).checkOverlay},
	{"user namespaces", (*Supervisor).checkUserNamespaces},
	{"creel-init", (*Supervisor).checkInit},
	{"swap", (*Supervisor).checkSwap},
	{"configuration", (*Supervisor).checkConfiguration},
}

// Doctor implements server.Backend.
func (s *Supervisor) Doctor(ctx context.Context) (*api.DoctorReply, error) {
	reply := &api.DoctorReply{}
	for _, check := range checks {
		finding := check.run(s, ctx)
		finding.Name = check.name
		reply.Findings = append(reply.Findings, finding)
	}
	reply.Findings = append(reply.Findings, s.engineFindings(ctx)...)
	reply.Findings = append(reply.Findings, s.credentialFindings(ctx)...)
	reply.Findings = append(reply.Findings, s.secretFindings()...)
	reply.Findings = append(reply.Findings, s.tokenFindings()...)
	reply.Findings = append(reply.Findings, s.hygieneFindings(ctx)...)
	reply.Findings = append(reply.Findings, s.agentFindings()...)
	reply.Findings = append(reply.Findings, s.declaredProblems()...)
	return reply, nil
}

func (s *Supervisor) checkKernel(context.Context) api.Finding {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return api.Finding{Level: levelError, Detail: err.Error()}
	}
	release := unix.ByteSliceToString(uts.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil || major < 5 || major == 5 && minor < 12 {
		return api.Finding{Level: levelError, Detail: "Linux " + release,
			Hint: "creel needs Linux 5.12 or newer, for mount_setattr(2)"}
	}
	return api.Finding{Level: levelOK, Detail: "Linux " + release}
}

func (s *Supervisor) checkCgroups(context.Context) api.Finding {
	switch {
	case s.cfg.Cgroups.Unified:
		return api.Finding{Level: levelOK, Detail: "v2, sandboxes below " + s.cfg.Cgroups.Parent}
	case cgroup.Hybrid():
		return api.Finding{Level: levelOK, Detail: "v1 with a v2 tree beside it, sandboxes below " + s.cfg.Cgroups.Parent}
	}
	return api.Finding{Level: levelOK, Detail: "v1, sandboxes below " + s.cfg.Cgroups.Parent}
}

// seccompActions are the actions that the floor and the profiles use
// (seccomp(2), /proc/sys/kernel/seccomp/actions_avail).
var seccompActions = []string{"kill_process", "errno", "allow"}

func (s *Supervisor) checkSeccomp(context.Context) api.Finding {
	const hint = "a kernel built with CONFIG_SECCOMP_FILTER is needed; those of all distributions are"
	data, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil {
		return api.Finding{Level: levelError, Detail: err.Error(), Hint: hint}
	}
	available := strings.Fields(string(data))
	for _, action := range seccompActions {
		if !slices.Contains(available, action) {
			return api.Finding{Level: levelError, Detail: "the kernel has no action " + action, Hint: hint}
		}
	}
	return api.Finding{Level: levelOK, Detail: "filters, with " + strings.Join(seccompActions, ", ")}
}

// checkOverlay looks for what roots of directories and images are made with.
// A module that was never asked for is not in the list (filesystems(5)).
func (s *Supervisor) checkOverlay(context.Context) api.Finding {
	data, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return api.Finding{Level: levelWarning, Detail: err.Error()}
	}
	if !bytes.Contains(data, []byte("\toverlay\n")) {
		return api.Finding{Level: levelWarning, Detail: "the kernel has none loaded; roots of directories and images need it",
			Hint: "modprobe overlay"}
	}
	return api.Finding{Level: levelOK, Detail: "present, for roots of directories and images"}
}

func (s *Supervisor) checkUserNamespaces(context.Context) api.Finding {
	data, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil || string(bytes.TrimSpace(data)) == "0" {
		return api.Finding{Level: levelError, Detail: "the kernel has none, or allows none",
			Hint: "sysctl user.max_user_namespaces=10000, or say 'userNamespace: off' in a policy and accept the weaker mode"}
	}
	return api.Finding{Level: levelOK, Detail: "allowed"}
}

func (s *Supervisor) checkInit(context.Context) api.Finding {
	var st unix.Stat_t
	if err := unix.Lstat(s.cfg.InitPath, &st); err != nil {
		return api.Finding{Level: levelError, Detail: s.cfg.InitPath + ": " + err.Error(), Hint: "make install"}
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return api.Finding{Level: levelError, Detail: s.cfg.InitPath + ": others than root may change it",
			Hint: "chown root:root and chmod 0755 it"}
	}
	return api.Finding{Level: levelOK, Detail: s.cfg.InitPath}
}

func (s *Supervisor) checkConfiguration(context.Context) api.Finding {
	if notice := s.notice.Load(); notice != nil {
		return api.Finding{Level: levelError, Detail: *notice, Hint: "mend the file and reload: systemctl reload creeld"}
	}
	return api.Finding{Level: levelOK, Detail: "in force: " + strings.Join(s.declared.Load().Policies.Names(), ", ")}
}

// declaredProblems are what the policies in force are warned about now.
func (s *Supervisor) declaredProblems() []api.Finding {
	declared := s.declared.Load()
	var out []api.Finding
	for _, p := range declared.Policies.Review(time.Now(), declared.Config) {
		level := levelWarning
		if p.Severity == policy.SeverityError {
			level = levelError
		}
		out = append(out, api.Finding{Name: "policy", Level: level, Detail: p.String(), Hint: p.Hint})
	}
	return out
}

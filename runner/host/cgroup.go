package host

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/cgroup"
)

// CgroupParent finds or makes the control group that sandboxes go below.
//
// On cgroup v2 under systemd with Delegate=, that is the unit's own group;
// the supervisor then moves itself into a leaf of it, since a group that
// limits its children may hold no process (cgroup-v2.rst, "No Internal
// Process Constraint"). Everywhere else it is /creel/ and a name made from
// the runtime directory, so that supervisors do not meet.
func CgroupParent(runtimeDir string) (string, error) {
	own, err := delegated()
	if err != nil {
		return "", err
	}
	if own != "" {
		if err := moveToLeaf(own); err != nil {
			return "", fmt.Errorf("move into own control group: %w", err)
		}
		return filepath.Join(own, "sandboxes"), nil
	}
	sum := sha256.Sum256([]byte(filepath.Clean(runtimeDir)))
	return "/creel/" + hex.EncodeToString(sum[:6]), nil
}

// leaf is the child group that the supervisor itself lives in.
const leaf = "supervisor"

// delegated gives the process's own v2 group if systemd has handed it over,
// which it marks with an extended attribute (systemd's CGROUP_DELEGATION).
func delegated() (string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("read own control group: %w", err)
	}
	group, unified := ownGroup(string(data))
	if !unified {
		return "", nil
	}
	for _, attribute := range []string{"trusted.delegate", "user.delegate"} {
		var value [8]byte
		n, err := unix.Getxattr(filepath.Join(cgroup.Mount, group), attribute, value[:])
		if err == nil && string(value[:n]) == "1" {
			return group, nil
		}
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return "", fmt.Errorf("read delegation of %s: %w", group, err)
		}
	}
	return "", nil
}

// ownGroup reads /proc/self/cgroup (cgroups(7)). A v1 or hybrid host, which
// has more lines than the one, has no group to hand over.
func ownGroup(text string) (group string, unified bool) {
	group, unified = strings.CutPrefix(strings.TrimSuffix(text, "\n"), "0::")
	if !unified || strings.Contains(group, "\n") {
		return "", false
	}
	return strings.TrimSuffix(group, "/"+leaf), true // where a former start moved it
}

func moveToLeaf(group string) error {
	dir := filepath.Join(cgroup.Mount, group)
	if err := os.Mkdir(filepath.Join(dir, leaf), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	pid := []byte(strconv.Itoa(os.Getpid()))
	if err := os.WriteFile(filepath.Join(dir, leaf, "cgroup.procs"), pid, 0); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu +memory +pids"), 0)
}

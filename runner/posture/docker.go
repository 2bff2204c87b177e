package posture

import (
	"slices"

	"github.com/creel-sandbox/creel/runner/rootfs"
)

// dockerDevSize is the size in bytes of every container's /dev; no setting
// changes it (moby, oci/defaults.go). Only root could write there.
const dockerDevSize = 64 << 20

// dockerEmpty are the file systems of the kernel that Docker would show a
// container. The engine asks for an empty one in the place of each.
var dockerEmpty = []string{"/sys", "/sys/fs/cgroup", "/dev/mqueue"}

// asDockerMakesIt turns what an OCI runtime would make into what Docker does,
// where there is no way to ask it for the same. Each difference leaves the
// promises to something else that is compared as well.
func (p *Prediction) asDockerMakesIt(s Subject) {
	// Docker's storage makes the root, and mount events of the host come in.
	// What is in it is the image's, by its ID.
	p.Mounts["/"] = PredictedMount{With: []string{"ro"}, Root: "/", Receives: true}
	// A bind can be made read-only, and nothing else. That no setuid program
	// gains anything is due to no_new_privs, that no device opens to the control
	// group.
	for _, m := range s.Root.Mounts {
		predicted := p.Mounts[m.Target]
		predicted.With = slices.DeleteFunc(slices.Clone(predicted.With), func(flag string) bool {
			return flag == "nosuid" || flag == "nodev"
		})
		p.Mounts[m.Target] = predicted
	}
	p.Mounts["/dev"] = PredictedMount{
		FSTypes: []string{"tmpfs"}, With: []string{"nosuid"}, Own: true, Root: "/", Size: dockerDevSize,
	}
	for _, target := range dockerEmpty {
		p.Mounts[target] = PredictedMount{
			FSTypes: []string{"tmpfs"}, With: []string{"ro", "nosuid", "nodev", "noexec"}, Own: true, Root: "/",
		}
	}
	// A file of the daemon's with the name of the container.
	p.Mounts["/etc/hostname"] = PredictedMount{With: []string{"ro"}}
	p.Mounts[rootfs.ControlTarget] = PredictedMount{With: []string{"ro"}}
	// The primary group is listed a second time (CVE-2022-36109).
	p.Groups = p.GID
	// The daemon starts it, so that it inherits none of the supervisor's.
	p.Filters = 1
}

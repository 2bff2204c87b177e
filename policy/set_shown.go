package policy

// hostPath is a directory or file of the host that a policy shows.
type hostPath struct {
	key      string // of the policy, that names it
	path     string
	state    bool // what an agent keeps
	writable bool
}

// hostPathsOf are a policy's mounts and its root, where that is a directory.
func hostPathsOf(p *Policy) (all []hostPath) {
	if p.Root.Dir != "" {
		all = append(all, hostPath{key: "root.dir", path: p.Root.Dir})
	}
	for i, m := range p.Mounts {
		if m.Source != "" {
			all = append(all, hostPath{element("mounts", i) + ".source", m.Source, m.Kind == MountState, m.Writable})
		}
	}
	return all
}

// Shows says which policy shows a path of the host to its sandboxes, by a mount
// or as a root; the first by name. The host's /usr, which root: {host: true}
// shows, counts with the first of those.
func (s *Set) Shows(path string) (name string, shown bool) {
	for name, p := range s.All() {
		for _, its := range hostPathsOf(p) {
			if within(path, its.path) {
				return name, true
			}
		}
		if p.Root.Host && within(path, "/usr") {
			return name, true
		}
	}
	return "", false
}

package cgroup

// Group is the control group of one sandbox.
type Group struct {
	hierarchy *Hierarchy
	name      string
}

// Group is the group of a name below the parent; it need not exist.
func (h *Hierarchy) Group(name string) Group { return Group{hierarchy: h, name: name} }

// Path is the group from the root of each hierarchy.
func (g Group) Path() string { return g.hierarchy.Path(g.name) }

// Procs lists the processes in the group, by host pid. A group that is gone
// gives ErrNotFound.
func (g Group) Procs() ([]int, error) { return g.hierarchy.Procs(g.name) }

// Limits reads back the limits of the group.
func (g Group) Limits() (Limits, error) { return g.hierarchy.Limits(g.name) }

// Usage reads what the group uses. A group that is gone gives ErrNotFound.
func (g Group) Usage() (Usage, error) { return g.hierarchy.Usage(g.name) }

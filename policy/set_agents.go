package policy

import "fmt"

// agentsKeepWhatIsTheirs refuses policies that would show what an agent keeps to
// others, or let them write what it may only read: an agent runs commands of
// other policies, and who talks to it has them do what it cannot.
func (s *Set) agentsKeepWhatIsTheirs() (problems []Problem) {
	for agent, of := range s.All() {
		if of.Kind != KindAgent {
			continue
		}
		its := hostPathsOf(of)
		for name, p := range s.All() {
			if name == agent {
				continue
			}
			for _, shown := range hostPathsOf(p) {
				if f := intrudes(shown, agent, its); f != nil {
					problems = append(problems, s.documents[name].locate([]Problem{{
						Key: shown.key, Message: f.message, Hint: f.hint, Severity: SeverityError,
					}})...)
				}
			}
		}
	}
	return problems
}

// intrudes says what is wrong with a path that another policy shows, for an
// agent with these of its own, or nil. What the path holds of the agent's
// counts, and of what holds the path, the innermost: a workspace that is
// declared inside of an agent's state is a workspace.
func intrudes(shown hostPath, agent string, its []hostPath) *fault {
	innermost := -1
	for i, own := range its {
		if within(shown.path, own.path) && (innermost < 0 || within(own.path, its[innermost].path)) {
			innermost = i
		}
	}
	for i, own := range its {
		switch {
		case i != innermost && !within(own.path, shown.path):
		case own.state:
			return faultf(fmt.Sprintf("name another directory; what both are to have, agent %s can declare as a workspace", agent),
				"%s shows the state of agent %s, %s", quote(shown.path), agent, quote(own.path))
		case shown.writable && !own.writable:
			return faultf("narrow this mount, or say 'mode: ro'", "what agent %s may only read, %s, can be written through %s", agent, quote(own.path), quote(shown.path))
		}
	}
	return nil
}

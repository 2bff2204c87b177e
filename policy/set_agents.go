package policy

// agentsKeepWhatIsTheirs refuses policies that would show what an agent keeps to
// others, or let them write what it may only read: an agent runs commands of
// other policies, and who talks to it has them do what it cannot.
func (s *Set) agentsKeepWhatIsTheirs() (problems []Problem) {
	for agent, of := range s.All() {
		if of.Kind != KindAgent {
			continue
		}
		for name, p := range s.All() {
			if name == agent {
				continue
			}
			for i, m := range p.Mounts {
				if f := intrudes(m, agent, of); f != nil {
					problems = append(problems, s.documents[name].locate([]Problem{{
						Key: element("mounts", i) + ".source", Message: f.message, Hint: f.hint, Severity: SeverityError,
					}})...)
				}
			}
		}
	}
	return problems
}

// intrudes says what is wrong with another policy's mount for an agent, or nil.
func intrudes(m Mount, agent string, of *Policy) *fault {
	for _, its := range of.Mounts {
		switch {
		case m.Source == "" || its.Source == "" || !within(its.Source, m.Source):
		case its.Kind == MountState:
			return faultf("name a directory of its own", "the source %s shows the state of agent %s", quote(m.Source), agent)
		case m.Writable && !its.Writable:
			return faultf("narrow this mount, or say 'mode: ro'", "what agent %s may only read, %s, can be written through this mount", agent, quote(its.Source))
		}
	}
	return nil
}

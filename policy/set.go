package policy

import (
	"errors"
	"io"
	"io/fs"
	"iter"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// Set is the policies of one directory. It never changes, so a supervisor
// swaps a whole Set for the next one and keeps the last good one until then.
type Set struct {
	documents map[string]*Document
}

// mostPolicies bounds a directory that was named by mistake.
const mostPolicies = 1024

// LoadSet reads every *.yaml file of dir, a path in fsys that may begin with
// a slash (os.DirFS("/") with /etc/creel/policies makes problems name the
// files in full). It is all or nothing: with any error there is no set.
//
// A policy's name must be its file's name without .yaml. That makes names
// unique, and lets whoever reads a receipt find the file. Files that begin
// with a dot (editors' copies) and subdirectories are left alone; a .yml file
// is an error, because someone believes that it is in force.
func LoadSet(fsys fs.FS, dir string) (*Set, []Problem) {
	inside := path.Clean(strings.TrimPrefix(dir, "/"))
	entries, err := fs.ReadDir(fsys, inside)
	if err != nil {
		return nil, []Problem{unreadable(dir, err, "create the directory, or correct policyDir in creel.yaml")}
	}
	set := &Set{documents: map[string]*Document{}}
	var problems []Problem
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, ".") || entry.IsDir() {
			continue
		}
		file := path.Join(dir, name)
		switch path.Ext(name) {
		case ".yaml":
			problems = append(problems, set.load(fsys, path.Join(inside, name), file)...)
		case ".yml":
			problems = append(problems, Problem{File: file, Message: "a policy file ends in .yaml, so this one is not read", Hint: "rename or remove it", Severity: SeverityError})
		}
		if len(set.documents) > mostPolicies {
			return nil, append(problems, Problem{File: dir, Message: "there are too many policies here", Hint: "name a directory that holds only policies", Severity: SeverityError})
		}
	}
	problems = append(problems, set.publishOnce()...)
	problems = append(problems, set.agentsKeepWhatIsTheirs()...)
	if len(problems) > 0 {
		sortProblems(problems)
		return nil, problems
	}
	return set, nil
}

// publishOnce refuses two agents at one address of the host.
func (s *Set) publishOnce() []Problem {
	var problems []Problem
	first := map[netip.AddrPort]string{}
	for name, p := range s.All() {
		at := p.Agent.Publish
		if !at.IsValid() {
			continue
		}
		if other, taken := first[at]; taken {
			problems = append(problems, s.documents[name].locate([]Problem{{
				Key: "publish", Message: "the address " + quote(at.String()) + " is agent " + other + "'s already",
				Hint: "choose another port", Severity: SeverityError,
			}})...)
			continue
		}
		first[at] = name
	}
	return problems
}

// PlaceExecSockets says where on the host the socket of each agent is that has
// a mount of kind exec. It is for whoever loads the set, before others see it.
func (s *Set) PlaceExecSockets(at func(agent string) string) {
	for name, p := range s.All() {
		for i, m := range p.Mounts {
			if m.Kind == MountExec {
				p.Mounts[i].Source = at(name)
			}
		}
	}
}

func (s *Set) load(fsys fs.FS, inside, file string) []Problem {
	data, err := readBounded(fsys, inside)
	if err != nil {
		return []Problem{unreadable(file, err, "make it a regular file that creeld can read")}
	}
	doc, problems := Read(file, data)
	if doc == nil {
		return problems
	}
	if want := strings.TrimSuffix(path.Base(file), ".yaml"); doc.Policy.Name != want {
		return doc.locate([]Problem{{
			Key:      "name",
			Message:  "the name " + quote(doc.Policy.Name) + " is not the file's name " + quote(want),
			Hint:     "rename the file to " + doc.Policy.Name + ".yaml, or the policy",
			Severity: SeverityError,
		}})
	}
	s.documents[doc.Policy.Name] = doc
	return nil
}

// readBounded reads a regular file, and no more of it than tells Read that it
// is too large. Anything else in its place (a pipe, a device) could block.
func readBounded(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFileSize+1))
}

func unreadable(file string, err error, hint string) Problem {
	var inPath *fs.PathError
	if errors.As(err, &inPath) { // its path is relative to fsys, which tells the reader nothing
		err = inPath.Err
	}
	return Problem{File: file, Message: "cannot be read: " + err.Error(), Hint: hint, Severity: SeverityError}
}

// Get returns the policy of that name.
func (s *Set) Get(name string) (*Policy, bool) {
	doc, ok := s.documents[name]
	if !ok {
		return nil, false
	}
	return doc.Policy, true
}

// Document returns the policy of that name with its positions.
func (s *Set) Document(name string) (*Document, bool) {
	doc, ok := s.documents[name]
	return doc, ok
}

// All goes through the policies by their names, in alphabetical order.
func (s *Set) All() iter.Seq2[string, *Policy] {
	return func(yield func(string, *Policy) bool) {
		for _, name := range s.Names() {
			if !yield(name, s.documents[name].Policy) {
				return
			}
		}
	}
}

// Names lists the policies in alphabetical order.
func (s *Set) Names() []string {
	names := make([]string, 0, len(s.documents))
	for name := range s.documents {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Review reviews every policy against the clock and against the supervisor's
// own directories. With c.Strict some warnings are errors, and then the set
// should be refused.
func (s *Set) Review(now time.Time, c *Config) []Problem {
	var problems []Problem
	for _, name := range s.Names() {
		doc := s.documents[name]
		problems = append(problems, doc.Review(now, c.Strict)...)
		problems = append(problems, doc.Conflicts(c)...)
	}
	sortProblems(problems)
	return problems
}

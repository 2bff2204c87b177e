package scan

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxTrees bounds the trees that are kept to find where a text was, in bytes,
// and maxSteps how many are looked at.
const (
	maxTrees = 256 << 20
	maxSteps = 4 << 20
)

// commit is what is needed of one to find the way to a text.
type commit struct {
	id, tree objectID
	time     int64 // as it says
}

// locator knows the trees and commits of one repository.
type locator struct {
	trees   map[objectID][]byte
	size    int
	commits []commit
}

// locate says of what was found in blobs which commit has them, and where. It
// is for people: what cannot be located stays found.
func (s *search) locate() {
	wanted := map[string]map[objectID]bool{} // by the directory of the objects
	for _, h := range s.held {
		if h.object != (objectID{}) {
			if wanted[h.finding.Repository] == nil {
				wanted[h.finding.Repository] = map[objectID]bool{}
			}
			wanted[h.finding.Repository][h.object] = true
		}
	}
	if len(wanted) == 0 || s.late() {
		return
	}
	locators := s.readTrees(wanted)
	for dir, ids := range wanted {
		found := locators[dir].find(ids)
		for i := range s.held {
			h := &s.held[i]
			if at, ok := found[h.object]; ok && h.finding.Repository == dir {
				h.finding.Commit, h.finding.Path = at.commit.String(), at.path
			}
		}
	}
}

// readTrees reads the trees and commits of the repositories that are wanted,
// those too that were searched before.
func (s *search) readTrees(wanted map[string]map[objectID]bool) map[string]*locator {
	locators := map[string]*locator{}
	for dir := range wanted {
		locators[dir] = &locator{trees: map[objectID][]byte{}}
	}
	report, expired := s.report, s.expired
	for i := range s.loose {
		g := &s.loose[i]
		if l := locators[s.hostPath(g.place, g.dir)]; l != nil && !s.late() {
			_ = s.eachLoose(g, false, func(_ *os.File, kind plumbing.ObjectType, size int64, r io.Reader) error {
				content, err := readExactly(r, size)
				if err == nil {
					l.add(g.naming, kind, content)
				}
				return err // which the search has reported
			})
		}
	}
	for i := range s.packs {
		g := s.packs[i] // a copy: what was covered does not change
		if l := locators[s.hostPath(g.place, g.dir)]; l != nil && !s.late() {
			f, err := s.reopen(&g)
			if err != nil {
				continue
			}
			p := s.readPack(&g, f)
			p.visit(false, func(kind plumbing.ObjectType, content []byte) { l.add(g.naming, kind, content) })
			p.close()
		}
	}
	s.report, s.expired = report, expired // what could not be read is listed already
	return locators
}

func (l *locator) add(n naming, kind plumbing.ObjectType, content []byte) {
	switch kind {
	case plumbing.TreeObject:
		if l.size += len(content); l.size <= maxTrees {
			l.trees[n.identify(kind, content)] = content
		}
	case plumbing.CommitObject:
		if c, ok := parseCommit(content); ok && len(l.commits) < maxFiles {
			c.id = n.identify(kind, content)
			l.commits = append(l.commits, c)
		}
	}
}

// parseCommit reads the tree and the time of a commit.
func parseCommit(content []byte) (c commit, ok bool) {
	head, _, _ := bytes.Cut(content, []byte("\n\n"))
	for line := range bytes.Lines(head) {
		key, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		switch string(key) {
		case "tree":
			c.tree, ok = parseID(string(value))
		case "committer":
			if fields := bytes.Fields(value); len(fields) > 1 {
				c.time, _ = strconv.ParseInt(string(fields[len(fields)-2]), 10, 64)
			}
		}
	}
	return c, ok
}

// location is where a blob is.
type location struct {
	commit objectID
	path   string
}

// find looks for blobs from the oldest commit on. Each tree is looked at once:
// what an older commit has, it is said to be from.
func (l *locator) find(ids map[objectID]bool) map[objectID]location {
	slices.SortStableFunc(l.commits, func(a, b commit) int { return cmp.Compare(a.time, b.time) })
	found, seen := map[objectID]location{}, map[objectID]bool{}
	type step struct {
		tree objectID
		path string
	}
	for _, c := range l.commits {
		if ids[c.id] { // the text is its message
			found[c.id] = location{c.id, ""}
		}
		steps := []step{{c.tree, ""}}
		for len(steps) > 0 && len(found) < len(ids) && len(seen) < maxSteps {
			at := steps[len(steps)-1]
			steps = steps[:len(steps)-1]
			if seen[at.tree] {
				continue
			}
			seen[at.tree] = true
			n := at.tree.size
			for e, rest, ok := n.nextEntry(l.trees[at.tree]); ok; e, rest, ok = n.nextEntry(rest) {
				path := e.name
				if at.path != "" {
					path = at.path + "/" + e.name
				}
				if len(path) > maxPath {
					continue
				}
				if e.dir {
					steps = append(steps, step{e.id, path})
				} else if _, is := found[e.id]; ids[e.id] && !is {
					found[e.id] = location{c.id, path}
				}
			}
		}
	}
	return found
}

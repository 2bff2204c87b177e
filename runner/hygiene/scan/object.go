package scan

import (
	"bytes"
	"io"
	"maps"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxNames bounds the names of blobs that are kept, maxName their length
// (NAME_MAX, limits.h), and maxObject the objects that are unpacked in memory.
const (
	maxNames  = 2 << 20
	maxName   = 255
	maxObject = 64 << 20
)

// readObjects searches all objects of Git: the trees and commits first, so
// that the others have names.
func (s *search) readObjects() {
	var packs []*pack
	for i := range s.packs {
		if s.packs[i].known {
			continue
		}
		s.report.Count.FilesRead++
		if p := s.newPack(&s.packs[i]); p != nil {
			packs = append(packs, p)
		}
	}
	for _, blobs := range []bool{false, true} {
		for i := range s.loose {
			if !s.loose[i].known {
				s.readLoose(&s.loose[i], blobs)
			}
		}
		for _, p := range packs {
			p.visit(blobs, func(kind plumbing.ObjectType, content []byte) { s.object(p.file, kind, content) })
			if blobs {
				p.visitLarge()
			}
		}
	}
	for _, p := range packs {
		p.close()
	}
	s.keepGit()
	for k := range s.old.objects {
		if !s.stale() {
			s.new.keepObject(k)
		}
	}
}

// keepGit remembers the files that were wholly searched.
func (s *search) keepGit() {
	if s.expired {
		s.keepUnseen()
		return
	}
	for _, g := range s.loose {
		if !g.known && g.clean && g.keep {
			s.new.keepFile(g.state)
		}
	}
	for _, g := range s.packs {
		if g.clean && g.keep {
			s.new.packs[g.state] = g.key
		} else if g.clean {
			s.new.packs[g.key] = g.key // its content is known, and no state
		}
	}
}

// keepUnseen keeps what is known of files that a search did not come to, unless
// they are to be compared with other values.
func (s *search) keepUnseen() {
	if s.stale() {
		return
	}
	for k := range s.old.files {
		s.new.keepFile(k)
	}
	maps.Copy(s.new.packs, s.old.packs)
	for _, r := range s.old.findings {
		if !s.carried[r.key] {
			s.new.findings = append(s.new.findings, r)
		}
	}
}

// object searches the content of one object. The names in a tree are compared
// with the values, and told to the blobs.
func (s *search) object(g *gitFile, kind plumbing.ObjectType, content []byte) {
	s.report.Count.Objects++
	if kind == plumbing.TreeObject {
		s.readNames(g.naming, content)
	}
	k := s.new.key(kind.String(), content)
	compared, ruled := s.knows(k)
	if compared {
		s.new.keepObject(k)
		return
	}
	s.report.Count.Searched++
	if s.objectText(g, g.naming.identify(kind, content), kind != plumbing.TreeObject && !ruled).finish(content) {
		s.new.keepObject(k)
	}
}

// knows says whether nothing is to be searched in a content, and whether the
// rules need not be applied to it.
func (s *search) knows(k key) (compared, ruled bool) {
	if _, now := s.new.objects[k]; now {
		return true, true
	}
	_, before := s.old.objects[k]
	return before && !s.stale(), before
}

// objectText begins the text of an object.
func (s *search) objectText(g *gitFile, id objectID, ruled bool) *text {
	return s.newText(textOf{place: g.place, path: g.path, key: g.key, object: &id, dir: g.dir, name: s.names[id]}, ruled)
}

// largeBlob searches a blob that is too large for the memory, which copyTo
// writes anew each time. It gives the blob's name.
func (s *search) largeBlob(g *gitFile, size int64, copyTo func(io.Writer) error) (id objectID, err error) {
	s.report.Count.Objects++
	named, known := g.naming.begin(plumbing.BlobObject, size), s.new.keyOf(plumbing.BlobObject.String(), size)
	if err := copyTo(io.MultiWriter(named, known, &stopper{s})); err != nil {
		return id, err
	}
	var k key
	id = idOf(named.Sum(nil))
	copy(k[:], known.Sum(nil))
	compared, ruled := s.knows(k)
	if compared {
		s.new.keepObject(k)
		return id, nil
	}
	s.report.Count.Searched++
	t := s.objectText(g, id, !ruled)
	if err := copyTo(io.MultiWriter(t, &stopper{s})); err != nil {
		return id, err
	}
	if t.Close() {
		s.new.keepObject(k)
	}
	return id, nil
}

// readNames notes what the blobs of a tree are called.
func (s *search) readNames(n naming, tree []byte) {
	for e, rest, ok := n.nextEntry(tree); ok; e, rest, ok = n.nextEntry(rest) {
		if e.dir || len(e.name) > maxName {
			continue
		}
		old, named := s.names[e.id]
		if !named && len(s.names) < maxNames || named && old != e.name && s.rules.better(old, e.name) {
			s.names[e.id] = e.name
		}
	}
}

// entry is one name in a tree.
type entry struct {
	name string
	id   objectID
	dir  bool
}

// nextEntry takes the first entry off a tree: "MODE NAME\0" and the name of
// the object.
func (n naming) nextEntry(tree []byte) (e entry, rest []byte, ok bool) {
	mode, after, ok := bytes.Cut(tree, []byte(" "))
	if !ok {
		return e, nil, false
	}
	name, after, ok := bytes.Cut(after, []byte{0})
	if !ok || len(after) < int(n) {
		return e, nil, false
	}
	e.id = idOf(after[:n])
	e.name, e.dir = string(name), string(mode) == "40000" || string(mode) == "160000"
	return e, after[n:], true
}

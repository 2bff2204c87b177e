package scan

import (
	"bytes"
	"encoding/hex"
	"maps"
	"strconv"

	"crypto/sha1"

	"github.com/go-git/go-git/v5/plumbing"
)

// objectID is the name that Git gives an object: the SHA-1 of it. It is
// computed here, never believed, and only used to find the way from a commit
// to a text: what is known to be clean is known by another hash.
type objectID [sha1.Size]byte

// String is the name in hexadecimal.
func (id objectID) String() string { return hex.EncodeToString(id[:]) }

func identify(kind plumbing.ObjectType, content []byte) (id objectID) {
	h := sha1.New()
	h.Write(append([]byte(kind.String()+" "+strconv.Itoa(len(content))), 0))
	h.Write(content)
	h.Sum(id[:0])
	return id
}

// maxNames bounds the names of blobs that are kept, and maxObject the objects
// that are unpacked in memory.
const (
	maxNames  = 2 << 20
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
	k := s.new.key(kind.String(), content)
	_, known := s.old.objects[k]
	if !known {
		_, known = s.new.objects[k]
	}
	if kind == plumbing.TreeObject {
		s.readNames(content)
	}
	if known && !s.stale() {
		s.new.keepObject(k)
		return
	}
	id := identify(kind, content)
	s.report.Count.Searched++
	t := s.newText(textOf{place: g.place, path: g.path, key: g.key, object: &id, dir: g.dir, name: s.names[id]}, kind != plumbing.TreeObject && !known)
	if t.finish(content) {
		s.new.keepObject(k)
	}
}

// readNames notes what the blobs of a tree are called.
func (s *search) readNames(tree []byte) {
	for e, rest, ok := nextEntry(tree); ok; e, rest, ok = nextEntry(rest) {
		if e.dir {
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

// nextEntry takes the first entry off a tree: "MODE NAME\0" and 20 bytes.
func nextEntry(tree []byte) (e entry, rest []byte, ok bool) {
	mode, after, ok := bytes.Cut(tree, []byte(" "))
	if !ok {
		return e, nil, false
	}
	name, after, ok := bytes.Cut(after, []byte{0})
	if !ok || len(after) < len(e.id) {
		return e, nil, false
	}
	copy(e.id[:], after)
	e.name, e.dir = string(name), string(mode) == "40000" || string(mode) == "160000"
	return e, after[len(e.id):], true
}

package scan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// The bounds of a pack.
const (
	maxEntries = 8 << 20
	// maxPending bounds the bases that are kept for their deltas.
	maxPending = 256 << 20
)

var (
	errLarge = fmt.Errorf("an object of more than %d bytes", maxObject)
	errSize  = errors.New("an object that is not as long as it says")
)

// none stands for no entry.
const none = math.MaxUint32

// pack is a file of objects (gitformat-pack(5)), read without its index, which
// could say anything.
type pack struct {
	s       *search
	file    *gitFile
	f       *os.File
	scanner *packfile.Scanner
	entries []packEntry
	byName  map[objectID][]uint32 // deltas, by the name of their base
	// kids are the deltas of an entry: from kids[first[i]] to kids[first[i+1]].
	first, kids []uint32
	done        int
	failed      bool
}

type packEntry struct {
	offset int64
	size   int64 // of what is inflated
	base   uint32
	kind   plumbing.ObjectType
}

// newPack reads a pack that nothing is known of yet. One whose content is known
// is not read further.
func (s *search) newPack(g *gitFile) *pack {
	f, err := s.reopen(g)
	if err != nil {
		s.uncovered(g.place, g.path, "%v", err)
		return nil
	}
	// What no entry is made of is compared with the values as well.
	h, raw := s.new.hash("pack"), s.newText(textOf{place: g.place, path: g.path}, false)
	if _, err := io.CopyBuffer(io.MultiWriter(h, raw, &stopper{s}), struct{ io.Reader }{f}, s.scratch); err != nil {
		_ = f.Close()
		s.uncovered(g.place, g.path, "%v", err)
		return nil
	}
	copy(g.key[:], h.Sum(nil))
	if !s.stale() && s.old.hasPack(g.key) {
		_ = f.Close()
		s.carry(g.key, false)
		g.known, g.clean = true, true
		return nil
	}
	raw.of.key = g.key
	raw.Close()
	return s.readPack(g, f)
}

// readPack reads where the entries of a pack are and what they are made from.
func (s *search) readPack(g *gitFile, f *os.File) *pack {
	p := &pack{s: s, file: g, f: f}
	if err := p.tell(); err != nil {
		p.fail("%v", err)
	}
	p.relate()
	return p
}

// tell reads the entries, and how they are named. A pack does not say it, but
// ends with a name of its own; and one in which others are named by SHA-256
// cannot be read as one of SHA-1.
func (p *pack) tell() error {
	rest, err := p.index(bySHA1)
	if len(p.byName) == 0 {
		if err == nil && rest == int64(bySHA256) {
			p.file.naming = bySHA256
		}
		return err
	}
	if err == nil && rest == int64(bySHA1) || p.s.late() {
		return err
	}
	first := *p
	if rest, other := p.index(bySHA256); other != nil || rest != int64(bySHA256) {
		p.scanner, p.entries, p.byName, p.file.naming = first.scanner, first.entries, first.byName, bySHA1
		return err
	}
	return nil
}

// fail notes that a pack is not wholly covered.
func (p *pack) fail(format string, args ...any) {
	p.failed = true
	p.s.uncovered(p.file.place, p.file.path, "pack of Git: "+format, args...)
}

// close says whether all of the pack was searched.
func (p *pack) close() {
	p.f.Close()
	if missing := len(p.entries) - p.done; missing > 0 && !p.failed && !p.s.expired {
		p.fail("%d objects are made from others that are not in it", missing)
	}
	p.file.clean = !p.failed
}

// index reads the pack from its beginning to its end, as one that is named in
// some way, and says how many bytes are left. On an error the entries before it
// are there.
func (p *pack) index(n naming) (rest int64, err error) {
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	p.scanner, p.entries, p.byName, p.file.naming = packfile.NewScanner(p.f), nil, map[objectID][]uint32{}, n
	_, count, err := p.scanner.Header()
	if err != nil {
		return 0, err
	}
	if count > maxEntries {
		return 0, fmt.Errorf("%d objects, of at most %d", count, maxEntries)
	}
	for range count {
		if p.s.late() {
			return 0, nil
		}
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	end, err := p.scanner.SeekFromStart(0)
	if err != nil {
		return 0, err
	}
	size, err := p.f.Seek(0, io.SeekEnd)
	return size - end, err
}

// next reads one entry to its end.
func (p *pack) next() error {
	h, err := p.scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	e := packEntry{offset: h.Offset, size: h.Length, base: none, kind: h.Type}
	switch h.Type {
	case plumbing.OFSDeltaObject:
		base, found := slices.BinarySearchFunc(p.entries, h.OffsetReference, func(e packEntry, at int64) int {
			return int(min(max(e.offset-at, -1), 1))
		})
		if !found {
			return errors.New("an object that is made from none")
		}
		e.base = uint32(base)
	case plumbing.REFDeltaObject:
		name, err := p.reference(h)
		if err != nil {
			return err
		}
		p.byName[name] = append(p.byName[name], uint32(len(p.entries)))
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
	default:
		return fmt.Errorf("an object of type %d", h.Type)
	}
	n, _, err := p.scanner.NextObject(&stopper{p.s})
	if err != nil {
		return err
	}
	if n != h.Length {
		return errSize
	}
	p.entries = append(p.entries, e)
	return nil
}

// reference gives the name of what a delta is made from, whose header has just
// been read. Of one by SHA-256 the library has read the first 20 bytes.
func (p *pack) reference(h *packfile.ObjectHeader) (objectID, error) {
	if p.file.naming == bySHA1 {
		return idOf(h.Reference[:]), nil
	}
	at, err := p.scanner.SeekFromStart(h.Offset)
	if err != nil {
		return objectID{}, err
	}
	name := make([]byte, bySHA256)
	if _, err := p.f.ReadAt(name, at-int64(bySHA1)); err != nil {
		return objectID{}, err
	}
	_, err = p.scanner.SeekFromStart(at + int64(bySHA256-bySHA1))
	return idOf(name), err
}

// stopper ends an inflation that takes longer than there is time.
type stopper struct{ s *search }

func (w *stopper) Write(b []byte) (int, error) {
	if w.s.late() {
		return 0, errors.New("no more time")
	}
	return len(b), nil
}

// relate makes the lists of the deltas of each entry.
func (p *pack) relate() {
	p.first = make([]uint32, len(p.entries)+1)
	for _, e := range p.entries {
		if e.base != none {
			p.first[e.base+1]++
		}
	}
	for i := range p.entries {
		p.first[i+1] += p.first[i]
	}
	p.kids = make([]uint32, p.first[len(p.entries)])
	next := slices.Clone(p.first)
	for i, e := range p.entries {
		if e.base != none {
			p.kids[next[e.base]] = uint32(i)
			next[e.base]++
		}
	}
}

// visit gives the content of each object to do: of blobs, or of all others.
// Of a chain of deltas no more is kept than is still needed.
func (p *pack) visit(blobs bool, do func(plumbing.ObjectType, []byte)) {
	for i, e := range p.entries {
		if p.s.late() {
			return
		}
		if e.base != none || e.kind == plumbing.REFDeltaObject || (e.kind == plumbing.BlobObject) != blobs {
			continue
		}
		if e.size > maxObject {
			if !blobs || p.first[i] != p.first[i+1] {
				p.fail("%v, at %d", errLarge, e.offset)
			}
			continue
		}
		content, err := p.inflate(e)
		if err != nil {
			p.fail("%v", err)
			continue
		}
		p.chain(uint32(i), e.kind, content, do)
	}
}

// visitLarge searches the blobs that are too large for the memory, and that
// nothing else is made from.
func (p *pack) visitLarge() {
	for i, e := range p.entries {
		if e.size <= maxObject || e.kind != plumbing.BlobObject || p.first[i] != p.first[i+1] || p.s.late() {
			continue
		}
		id, err := p.s.largeBlob(p.file, e.size, func(to io.Writer) error { return p.copyEntry(e, to) })
		switch {
		case err != nil:
			p.fail("%v", err)
		case len(p.byName[id]) > 0:
			p.fail("%v, at %d", errLarge, e.offset)
		default:
			p.done++
		}
	}
}

// level is an entry of a chain whose deltas are not all done.
type level struct {
	content []byte
	kids    []uint32
}

// chain visits an object and all that are made from it.
func (p *pack) chain(root uint32, kind plumbing.ObjectType, content []byte, do func(plumbing.ObjectType, []byte)) {
	p.done++
	do(kind, content)
	levels := []level{{content, p.kidsOf(root, kind, content)}}
	pending := len(content)
	for len(levels) > 0 && !p.s.late() {
		top := &levels[len(levels)-1]
		if len(top.kids) == 0 {
			pending -= len(top.content)
			levels = levels[:len(levels)-1]
			continue
		}
		kid, base := top.kids[0], top.content
		if top.kids = top.kids[1:]; len(top.kids) == 0 { // its base is not needed any more
			pending -= len(base)
			levels = levels[:len(levels)-1]
		}
		made, err := p.apply(p.entries[kid], base)
		if err != nil {
			p.fail("%v", err)
			continue
		}
		p.done++
		do(kind, made)
		kids := p.kidsOf(kid, kind, made)
		if len(kids) == 0 {
			continue
		}
		if pending += len(made); pending > maxPending {
			p.fail("objects that are made from one another of more than %d bytes", maxPending)
			return
		}
		levels = append(levels, level{made, kids})
	}
}

// kidsOf lists the deltas of an object.
func (p *pack) kidsOf(i uint32, kind plumbing.ObjectType, content []byte) []uint32 {
	kids := p.kids[p.first[i]:p.first[i+1]]
	if len(p.byName) == 0 {
		return kids
	}
	name := p.file.naming.identify(kind, content)
	named := p.byName[name]
	delete(p.byName, name) // a second object of this name would bring them again
	return slices.Concat(kids, named)
}

// inflate gives what an entry holds.
func (p *pack) inflate(e packEntry) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(e.size, 1<<20)))
	err := p.copyEntry(e, &b)
	return b.Bytes(), err
}

// copyEntry writes what an entry holds.
func (p *pack) copyEntry(e packEntry, to io.Writer) error {
	h, err := p.scanner.SeekObjectHeader(e.offset)
	if err == nil && e.kind == plumbing.REFDeltaObject {
		_, err = p.reference(h)
	}
	if err != nil {
		return err
	}
	n, _, err := p.scanner.NextObject(to)
	if err == nil && n != e.size {
		err = errSize
	}
	return err
}

// apply makes an object from its base and a delta.
func (p *pack) apply(e packEntry, base []byte) ([]byte, error) {
	if e.size > maxObject {
		return nil, errLarge
	}
	delta, err := p.inflate(e)
	if err != nil {
		return nil, err
	}
	_, n := binary.Uvarint(delta)
	if n <= 0 {
		return nil, errSize
	}
	if size, n := binary.Uvarint(delta[n:]); n <= 0 || size > maxObject {
		return nil, errLarge
	}
	if len(base) == 0 { // which the library refuses, and git does not make
		return nil, errSize
	}
	return packfile.PatchDelta(base, delta)
}

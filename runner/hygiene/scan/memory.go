package scan

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// key stands for a state of a file, or the content of an object. It is salted,
// so that nobody who does not know the salt can make two contents with one
// key.
type key [16]byte

// memory is what one search leaves to the next: what it has searched, and what
// it found in it. It holds no text of a file.
type memory struct {
	header   header
	files    map[key]struct{} // states of files
	packs    map[key]key      // states of packs, and their contents: git sets their time whenever it needs one (freshening)
	objects  map[key]struct{} // contents in which nothing was found
	findings []remembered
	// by has the findings by their key; of a memory that was read.
	by map[key][]hygiene.Finding
}

// header says what a memory is about.
type header struct {
	Rules    string // version
	Values   string // identity of the needles
	Salt     []byte
	Findings []stored
	Packs    []storedPack
}

type storedPack struct{ State, Content []byte }

type remembered struct {
	key     key
	finding hygiene.Finding
}

type stored struct {
	Key     []byte
	Finding hygiene.Finding
}

// maxKeys bounds each kind: 64 MiB of them.
const (
	maxKeys   = 4 << 20
	maxHeader = 16 << 20
	magic     = "creel hygiene 2\n"
)

// fit gives what is still true of a memory, and the one to be made. What was
// searched by other rules is forgotten; what was compared with other values is
// not, and stale says so.
func (m *memory) fit(values string) (old, next *memory) {
	next = &memory{
		header: header{Rules: rulesVersion(), Values: values, Salt: m.header.Salt},
		files:  map[key]struct{}{}, packs: map[key]key{}, objects: map[key]struct{}{},
	}
	if m.header.Rules != next.header.Rules || len(m.header.Salt) != sha256.Size {
		salt := make([]byte, sha256.Size)
		rand.Read(salt) // never fails (crypto/rand)
		next.header.Salt = salt
		m = &memory{header: next.header}
	}
	return m, next
}

// stale says that what is known was compared with other values.
func (s *search) stale() bool { return s.old.header.Values != s.new.header.Values }

// hash begins a key.
func (m *memory) hash(kind string) hash.Hash {
	h := sha256.New()
	h.Write(m.header.Salt)
	io.WriteString(h, kind)
	return h
}

// keyOf begins the key of a content of a size.
func (m *memory) keyOf(kind string, size int64) hash.Hash {
	h := m.hash(kind)
	binary.Write(h, binary.LittleEndian, size)
	return h
}

func (m *memory) key(kind string, content []byte) (k key) {
	h := m.keyOf(kind, int64(len(content)))
	h.Write(content)
	copy(k[:], h.Sum(nil))
	return k
}

// keepFile remembers a file that was searched.
func (m *memory) keepFile(k key) {
	if len(m.files) < maxKeys {
		m.files[k] = struct{}{}
	}
}

// hasPack says whether a pack with this content is known, whatever its state.
func (m *memory) hasPack(content key) bool {
	for _, known := range m.packs {
		if known == content {
			return true
		}
	}
	return false
}

// keepObject remembers a content in which nothing was found.
func (m *memory) keepObject(k key) {
	if len(m.objects) < maxKeys {
		m.objects[k] = struct{}{}
	}
}

// write writes a memory: a magic line, the length of a JSON header, the
// header, and the keys of files and of objects, each behind its count.
func (m *memory) write(to io.Writer) error {
	for _, r := range m.findings {
		m.header.Findings = append(m.header.Findings, stored{r.key[:], r.finding})
	}
	for state, content := range m.packs {
		m.header.Packs = append(m.header.Packs, storedPack{state[:], content[:]})
	}
	head, err := json.Marshal(m.header)
	if err != nil {
		return err
	}
	if len(head) > maxHeader {
		return nil // no memory: the next search reads everything again
	}
	w := bufio.NewWriter(to)
	w.WriteString(magic)
	binary.Write(w, binary.LittleEndian, uint32(len(head)))
	w.Write(head)
	for _, keys := range []map[key]struct{}{m.files, m.objects} {
		binary.Write(w, binary.LittleEndian, uint32(len(keys)))
		for k := range keys {
			w.Write(k[:])
		}
	}
	return w.Flush() // bufio keeps the first error
}

// readMemory reads a memory; one that is empty or cannot be read knows
// nothing.
func readMemory(from io.Reader) *memory {
	m, err := parseMemory(from)
	if err != nil {
		return &memory{}
	}
	return m
}

func parseMemory(from io.Reader) (*memory, error) {
	r := bufio.NewReader(from)
	start := make([]byte, len(magic))
	if _, err := io.ReadFull(r, start); err != nil || string(start) != magic {
		return nil, errors.New("read memory: no memory")
	}
	var length uint32
	if err := binary.Read(r, binary.LittleEndian, &length); err != nil || length > maxHeader {
		return nil, errors.New("read memory: no header")
	}
	head := make([]byte, length)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read memory: %w", err)
	}
	m := &memory{by: map[key][]hygiene.Finding{}}
	if err := json.NewDecoder(bytes.NewReader(head)).Decode(&m.header); err != nil {
		return nil, fmt.Errorf("read memory: %w", err)
	}
	for _, f := range m.header.Findings {
		var k key
		copy(k[:], f.Key)
		m.findings = append(m.findings, remembered{k, f.Finding})
		m.by[k] = append(m.by[k], f.Finding)
	}
	m.packs = map[key]key{}
	for _, p := range m.header.Packs {
		var state, content key
		copy(state[:], p.State)
		copy(content[:], p.Content)
		m.packs[state] = content
	}
	m.header.Findings, m.header.Packs = nil, nil
	for _, keys := range []*map[key]struct{}{&m.files, &m.objects} {
		var err error
		if *keys, err = readKeys(r); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func readKeys(r io.Reader) (map[key]struct{}, error) {
	var count uint32
	if err := binary.Read(r, binary.LittleEndian, &count); err != nil || count > maxKeys {
		return nil, errors.New("read memory: no keys")
	}
	keys := make(map[key]struct{}, min(count, 1<<16))
	for range count {
		var k key
		if _, err := io.ReadFull(r, k[:]); err != nil {
			return nil, fmt.Errorf("read memory: %w", err)
		}
		keys[k] = struct{}{}
	}
	return keys, nil
}

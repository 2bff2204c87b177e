package leakcheck

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Canary is a text that exists nowhere but where somebody put it: 52 letters
// and digits of base32, which are the same in base64url, in a URL, in JSON and
// to a shell.
type Canary string

// NewCanary makes one of 260 random bits.
func NewCanary() Canary { return Canary(rand.Text() + rand.Text()) }

// String implements fmt.Stringer, so that no message shows a canary.
func (c Canary) String() string { return "[canary]" }

// Form is one way to write a canary.
type Form struct {
	Name string
	Text []byte // part of a canary tells as much, so it may be cut
}

// longestForm bounds a form, in bytes.
const longestForm = 60

// Forms are all the ways that are searched for: as it is, in hex, and in each of
// the three alignments of base64.
func (c Canary) Forms() []Form {
	forms := []Form{
		{"as it is", []byte(c)},
		{"in lower-case hex", []byte(hex.EncodeToString([]byte(c)))},
		{"in upper-case hex", []byte(strings.ToUpper(hex.EncodeToString([]byte(c))))},
	}
	for before := range 3 {
		// Characters that the bytes before and after have a part in are cut off.
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", before) + string(c)))
		first, last := (before*8+5)/6, (before+len(c))/3*4
		forms = append(forms, Form{fmt.Sprintf("in base64, %d bytes into a group", before), []byte(text[first:last])})
	}
	for i := range forms {
		forms[i].Text = forms[i].Text[:min(len(forms[i].Text), longestForm)]
	}
	return forms
}

// sought is what is searched for: the canary in all its forms, and the
// control as it is.
type sought struct {
	ctx     context.Context // once it has ended, no more than a piece of anything is read
	canary  []Form
	control []byte
	// blocks has a bit for each hash of blockSize bytes of any of these texts.
	// Of a text that is somewhere, one block at least begins at a multiple of
	// stride, so no others are looked at (Wu and Manber, TR-94-17, without the
	// shifts).
	blocks [1 << 10]uint64
	stride int
	// room is used again by each search of a file; it makes a sought one
	// goroutine's.
	room []byte
}

const blockSize = 8

func newSought(ctx context.Context, canary, control Canary) *sought {
	s := &sought{ctx: ctx, canary: canary.Forms(), control: []byte(control), stride: longestForm}
	for _, f := range append(s.canary, Form{Text: s.control}) {
		s.stride = min(s.stride, len(f.Text)-blockSize+1)
		for i := range len(f.Text) - blockSize + 1 {
			word, bit := slot(f.Text[i:])
			s.blocks[word] |= bit
		}
	}
	return s
}

// slot is the bit of a block, by a multiplicative hash (Knuth, TAOCP 6.4).
func slot(block []byte) (word int, bit uint64) {
	h := binary.LittleEndian.Uint64(block) * 0x9E3779B97F4A7C15 >> 48
	return int(h >> 6), 1 << (h & 63)
}

// hit is one form of the canary, and where it begins.
type hit struct {
	form   string
	offset int64
}

// seen is what a search has found: the first place of each form, and whether
// the control was there.
type seen struct {
	hits    []hit
	control bool
	size    int64 // bytes that were searched
}

// add joins what was found elsewhere in the same thing.
func (s *seen) add(form string, offset int64) {
	for _, h := range s.hits {
		if h.form == form {
			return
		}
	}
	s.hits = append(s.hits, hit{form, offset})
}

func (s *sought) in(data []byte) seen {
	var found seen
	s.scan(&found, data, 0)
	return found
}

func (s *sought) scan(found *seen, data []byte, base int64) {
	found.size = base + int64(len(data))
	for at := 0; at+blockSize <= len(data); at += s.stride {
		if word, bit := slot(data[at:]); s.blocks[word]&bit != 0 {
			from := max(0, at-longestForm)
			s.compare(found, data[from:min(len(data), at+longestForm)], base+int64(from))
		}
	}
}

// compare searches a place where something may be.
func (s *sought) compare(found *seen, data []byte, base int64) {
	for _, f := range s.canary {
		if at := bytes.Index(data, f.Text); at >= 0 {
			found.add(f.Name, base+int64(at))
		}
	}
	found.control = found.control || bytes.Contains(data, s.control)
}

// piece is how much of a file is held at once.
const piece = 1 << 20

// errTooLong says that a file goes on beyond what may be read of one.
var errTooLong = errors.New("it is too large to be searched")

// read searches what a reader gives, at most limit bytes. What was found comes
// with an error too.
func (s *sought) read(from io.Reader, limit int64) (seen, error) {
	var found seen
	err := s.stream(&found, from, 0, limit)
	return found, err
}

// file searches a regular file, at most limit bytes of it that are no holes:
// some logs are small, and long (lastlog(8)).
func (s *sought) file(file *os.File, limit int64) (seen, error) {
	var found seen
	for at := int64(0); ; {
		first, err := file.Seek(at, unix.SEEK_DATA)
		past := int64(0)
		switch {
		case errors.Is(err, unix.ENXIO): // there is no more (lseek(2))
			return found, nil
		case err == nil:
			past, err = file.Seek(first, unix.SEEK_HOLE)
		}
		if err != nil { // its file system knows no holes
			first, past = at, at+limit+1
		}
		if _, err := file.Seek(first, io.SeekStart); err != nil {
			return found, err
		}
		if err := s.stream(&found, io.LimitReader(file, past-first), first, limit); err != nil || past > at+limit {
			return found, err
		}
		limit -= past - first
		at = past
	}
}

// stream searches what comes, beginning at a place of what is searched.
func (s *sought) stream(found *seen, from io.Reader, base, limit int64) error {
	if s.room == nil {
		s.room = make([]byte, longestForm+piece)
	}
	kept := 0 // bytes at the front that were searched already
	for at := base; ; {
		n, err := from.Read(s.room[kept:])
		if n > 0 {
			s.scan(found, s.room[:kept+n], at-int64(kept))
			at += int64(n)
			tail := min(kept+n, longestForm-1)
			copy(s.room, s.room[kept+n-tail:kept+n])
			kept = tail
		}
		switch {
		case s.ctx.Err() != nil:
			return fmt.Errorf("it was not searched to its end: %w", context.Cause(s.ctx))
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case at-base > limit:
			return errTooLong
		}
	}
}

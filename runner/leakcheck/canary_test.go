package leakcheck

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// TestCanaryIsFoundInEveryFormWhereverItIs puts it before, on and after each
// edge of the pieces that a file is read in.
func TestCanaryIsFoundInEveryFormWhereverItIs(t *testing.T) {
	canary, control := NewCanary(), NewCanary()
	s := newSought(context.Background(), canary, control)
	noise := make([]byte, 2*piece+3*longestForm)
	for i := range noise {
		noise[i] = byte('a' + rand.IntN(26))
	}
	written := map[string]string{
		"as it is":          string(canary),
		"in lower-case hex": hex.EncodeToString([]byte(canary)),
		"in upper-case hex": strings.ToUpper(hex.EncodeToString([]byte(canary))),
	}
	inside := map[string]int{} // where in such a text the form begins
	for before := range 3 {
		name := fmt.Sprintf("in base64, %d bytes into a group", before)
		inside[name] = []int{4, 6, 7}[before]
		written[name] = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 3+before) + string(canary) + "yyy"))
	}
	for name, text := range written {
		for _, at := range []int{0, 1, piece - 100, piece - 30, piece - 1, piece, piece + 1, 2*piece - 20, len(noise) - len(text)} {
			data := bytes.Clone(noise)
			copy(data[at:], text)
			found, err := s.read(bytes.NewReader(data), maxFile)
			if err != nil || len(found.hits) != 1 || found.hits[0].form != name || found.control {
				t.Fatalf("%s at %d: %+v, %v", name, at, found, err)
			}
			if found.hits[0].offset != int64(at+inside[name]) {
				t.Errorf("%s at %d is said to be at %d", name, at, found.hits[0].offset)
			}
		}
	}
	copy(noise[piece-10:], control)
	if found, err := s.read(bytes.NewReader(noise), maxFile); err != nil || len(found.hits) != 0 || !found.control {
		t.Errorf("without the canary, and with the control: %+v, %v", found, err)
	}
}

func TestCanaryIsFoundHoweverFewBytesAReadGives(t *testing.T) {
	canary := NewCanary()
	s := newSought(context.Background(), canary, NewCanary())
	text := strings.Repeat("a", 300) + string(canary) + strings.Repeat("b", 300)
	found, err := s.read(iotest.OneByteReader(strings.NewReader(text)), maxFile)
	if err != nil || len(found.hits) != 1 || found.hits[0].offset != 300 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestWhatIsReadIsBounded(t *testing.T) {
	s := newSought(context.Background(), NewCanary(), NewCanary())
	if _, err := s.read(zeros{}, 3*piece); !errors.Is(err, errTooLong) {
		t.Errorf("endless: %v", err)
	}
	if _, err := s.read(io.LimitReader(zeros{}, 3*piece), 3*piece); err != nil {
		t.Errorf("control, just short enough: %v", err)
	}
	canary := NewCanary()
	s = newSought(context.Background(), canary, NewCanary())
	failing := io.MultiReader(strings.NewReader(string(canary)), iotest.ErrReader(io.ErrUnexpectedEOF))
	if found, err := s.read(failing, maxFile); err == nil || len(found.hits) != 1 {
		t.Errorf("what was found before an error: %+v, %v", found, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestNoCanaryIsPrinted(t *testing.T) {
	canary := NewCanary()
	if len(canary) != 52 {
		t.Errorf("a canary of %d characters", len(canary))
	}
	for _, verb := range []string{"%v", "%+v", "%s"} {
		if text := fmt.Sprintf(verb, canary); strings.Contains(text, string(canary)) {
			t.Errorf("%s prints it", verb)
		}
	}
	n := newNotes(canary, nil)
	encoded := hex.EncodeToString([]byte(canary))
	n.leak("p", "/tmp/"+string(canary), process{name: "process 1, " + string(canary)}, seen{hits: []hit{{"as it is", 3}}})
	n.problem("p", "open /tmp/%s", encoded)
	var r Report
	n.fill(&r)
	if text := fmt.Sprintf("%+v", r); strings.Contains(text, string(canary)) || strings.Contains(text, encoded[:60]) || !strings.Contains(text, "/tmp/[canary]") {
		t.Errorf("a report prints it: %s", text)
	}
}

func TestNoPlaceIsPassedOver(t *testing.T) {
	canary, control := NewCanary(), NewCanary()
	s := newSought(context.Background(), canary, control)
	for _, f := range append(canary.Forms(), Form{Text: []byte(control)}) {
		for at := range 3 * longestForm {
			data := bytes.Repeat([]byte{'x'}, at+len(f.Text)+at%7)
			copy(data[at:], f.Text)
			found := s.in(data)
			if ok := found.control || len(found.hits) == 1 && found.hits[0] == (hit{f.Name, int64(at)}); !ok {
				t.Fatalf("%q at %d of %d: %+v", f.Name, at, len(data), found)
			}
			if found := s.in(data[:at+len(f.Text)-1]); found.control || len(found.hits) != 0 {
				t.Fatalf("%q at %d, cut: %+v", f.Name, at, found)
			}
		}
	}
}

// TestHolesCostNothing has files that are mostly holes, and a limit on the rest.
func TestHolesCostNothing(t *testing.T) {
	canary := NewCanary()
	s := newSought(context.Background(), canary, NewCanary())
	const far = 1 << 40
	for name, c := range map[string]struct {
		at   []int64
		ends int64
		want error
	}{
		"empty":               {nil, 0, nil},
		"one hole":            {nil, far, nil},
		"at the beginning":    {[]int64{0}, far, nil},
		"at the end":          {[]int64{far - 52}, far, nil},
		"in the middle":       {[]int64{far / 2}, far, nil},
		"after much else":     {[]int64{0, far / 4, far / 2}, far, nil},
		"where it is not one": {[]int64{0, piece, 2 * piece, 3 * piece, 4 * piece, 5 * piece}, 5*piece + 4096, errTooLong},
	} {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Truncate(c.ends); err != nil {
			t.Fatal(err)
		}
		for _, at := range c.at {
			if _, err := file.WriteAt([]byte(canary), at); err != nil {
				t.Fatal(err)
			}
			if c.want != nil { // as long as what is searched at once
				if _, err := file.WriteAt(make([]byte, piece), at+52); err != nil {
					t.Fatal(err)
				}
			}
		}
		found, err := s.file(file, 4*piece)
		file.Close()
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if len(c.at) > 0 && (len(found.hits) != 1 || found.hits[0].offset != c.at[0]) || len(c.at) == 0 && len(found.hits) != 0 {
			t.Errorf("%s: found %+v", name, found.hits)
		}
	}
}

// BenchmarkSearch is of text in which the first letters of the forms are as
// frequent as anywhere.
func BenchmarkSearch(b *testing.B) {
	s := newSought(context.Background(), NewCanary(), NewCanary())
	data := make([]byte, 16*piece)
	for i := range data {
		data[i] = byte(' ' + rand.IntN(95))
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if found, err := s.read(bytes.NewReader(data), maxFile); err != nil || found.control {
			b.Fatal(found, err)
		}
	}
}

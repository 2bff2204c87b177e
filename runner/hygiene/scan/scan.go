// Package scan searches directories for credentials: their files, and the
// objects of Git that lie among them, in packs or loose, reachable or not.
//
// It runs as a process of its own, which has descriptors of what it is to read
// and confines itself to them before it reads the first byte. All that it
// reads is hostile: no size, count or depth is believed, and Git's objects are
// found by where they lie and what they are, so that no reference,
// configuration, alternate or link of a repository is followed, and no git is
// run. It imports runner/hygiene, dump, the rules of gitleaks, the pack reader
// of go-git and go-landlock, never writes to what it reads, and says what it did
// not cover.
//
// Current limitations: archives and compressed files are compared with the
// values as they are, not unpacked. Binary files are compared with the values
// only: the rules are made for text. The rules are applied to the first 64 MiB of
// a text.
package scan

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// The most that is listed of each kind, and that is accepted as a request.
const (
	maxListed  = 100
	maxRequest = 8 << 20
)

// search is one search.
type search struct {
	places   []place
	began    time.Time
	deadline time.Time
	values   values
	rules    rules
	old, new *memory
	carried  map[key]bool        // the keys whose findings were taken over
	names    map[objectID]string // of the blobs that trees name
	packs    []gitFile
	loose    []gitFile
	// what the rules found, by the object that holds it, until it is located
	held    []held
	report  hygiene.Report
	expired bool
	scratch []byte
}

// place is what one descriptor stands for.
type place struct {
	hygiene.Place
	fd int
}

// held is a finding and what it was found in.
type held struct {
	key     key // of the file that is remembered
	place   int
	object  objectID
	finding hygiene.Finding
}

// Run answers the request on in, with the descriptors that it says it comes
// with.
func Run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, maxRequest))
	if err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	var request hygiene.Request
	if err := json.Unmarshal(data, &request); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if err := request.Needles.Check(); err != nil {
		return err
	}
	places := make([]place, len(request.Places))
	for i, p := range request.Places {
		places[i] = place{p, hygiene.Descriptor(i)}
	}
	if err := confine(places); err != nil {
		return err
	}
	last := os.NewFile(uintptr(hygiene.Descriptor(len(places))), "old memory")
	next := os.NewFile(uintptr(hygiene.Descriptor(len(places)+1)), "new memory")
	if last == nil || next == nil {
		return errors.New("open memories: no descriptors")
	}
	report, memory := find(request, places, readMemory(last))
	if err := memory.write(next); err != nil {
		return fmt.Errorf("write memory: %w", err)
	}
	return json.NewEncoder(out).Encode(report)
}

// find does the search.
func find(request hygiene.Request, places []place, old *memory) (hygiene.Report, *memory) {
	s := newSearch(request, places, old)
	s.run()
	return s.report, s.new
}

func newSearch(request hygiene.Request, places []place, old *memory) *search {
	now := time.Now()
	s := &search{
		places: places, began: now, deadline: now.Add(time.Duration(request.Seconds) * time.Second),
		values: newValues(request.Needles), carried: map[key]bool{}, names: map[objectID]string{}, scratch: make([]byte, blockSize),
	}
	s.old, s.new = old.fit(request.Needles.Identity())
	return s
}

// run searches the files, then the objects of Git, of which the trees come
// first, since they name the others.
func (s *search) run() {
	for i := range s.places {
		s.walkPlace(i)
	}
	s.readObjects()
	s.locate()
	for _, h := range s.held {
		s.new.findings = append(s.new.findings, remembered{h.key, h.finding})
	}
	s.summarise()
}

// uncovered notes something that was not searched.
func (s *search) uncovered(place int, path, format string, args ...any) {
	if len(s.report.Uncovered) >= maxListed {
		s.report.Further++
		return
	}
	s.report.Uncovered = append(s.report.Uncovered, hygiene.Uncovered{Path: s.hostPath(place, path), Reason: fmt.Sprintf(format, args...)})
}

// hostPath is a path below a place as the host calls it.
func (s *search) hostPath(place int, path string) string {
	name := s.places[place].Name
	if path == "" {
		return name
	}
	return name + "/" + path
}

// late says whether the time is up, and has it noted once.
func (s *search) late() bool {
	if !s.expired && time.Now().After(s.deadline) {
		s.expired = true
		s.uncovered(0, "", "the search was not done in %v; the next one goes on where it ended", s.deadline.Sub(s.began))
	}
	return s.expired
}

// summarise makes the list of findings: one of each text in each repository.
func (s *search) summarise() {
	type same struct {
		repository, rule, fingerprint string
		value                         int
		path                          string
	}
	first := map[same]int{}
	var all []hygiene.Finding
	for _, r := range s.new.findings {
		f := r.finding
		at := same{f.Repository, f.Rule, f.Fingerprint, f.Value, ""}
		if f.Object == "" {
			at.path = f.Path
		}
		if i, ok := first[at]; ok {
			all[i].Again++
			if all[i].Commit == "" && f.Commit != "" {
				again := all[i].Again
				all[i] = f
				all[i].Again = again
			}
			continue
		}
		first[at] = len(all)
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b hygiene.Finding) int {
		return cmp.Or(cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	if len(all) > maxListed {
		s.report.Further += len(all) - maxListed
		all = all[:maxListed]
	}
	s.report.Findings = all
}

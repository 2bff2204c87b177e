package hygiene

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/policy"
)

// searchLimit bounds one search. The first of a large repository may need more
// than one: each goes on where the last ended.
const searchLimit = 10 * time.Minute

// onceLimit bounds a search that nothing is known to and that leaves nothing to
// another.
const onceLimit = 30 * time.Minute

// pause is how long after a command's end its workspaces are searched, unless
// another command has had them searched by then.
const pause = time.Second

// ErrClosed is returned once the searcher is closed.
var ErrClosed = errors.New("the supervisor is stopping")

// Searcher searches for policies, each at most once at a time.
type Searcher struct {
	program, dir string
	key          []byte // of the needles
	pause        time.Duration
	stop         context.CancelFunc
	ctx          context.Context
	running      sync.WaitGroup

	mu sync.Mutex
	// known are the needles of the values that the supervisor knows, by where
	// a value is from.
	known   map[string][]Needle
	flights map[string]*flights
	closed  bool
}

// flights are the searches of one memory: the one that runs, and the one that
// begins when it has ended. Who asks gets one that begins after that.
type flights struct {
	running, next *flight
	last          *flight // that has ended
	later         *time.Timer
}

type flight struct {
	job    Job
	values []string // where each value is from
	began  time.Time
	done   chan struct{}
	report *Report
	err    error
}

// NewSearcher makes a searcher that starts program, creel-check, and keeps what
// is known in dir, which it makes, for root alone, when a policy needs it. key is
// that of the needles it is given.
func NewSearcher(program, dir string, key []byte) *Searcher {
	ctx, stop := context.WithCancel(context.Background())
	return &Searcher{program: program, dir: dir, key: key, pause: pause, ctx: ctx, stop: stop,
		known: map[string][]Needle{}, flights: map[string]*flights{}}
}

// Close ends the searches that run.
func (s *Searcher) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.running.Wait()
	return nil
}

// Learn has a value looked for by its needles from the next search on, in the
// place of the last from the same source.
func (s *Searcher) Learn(source string, needles []Needle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[source] = needles
}

// Knows says whether a value from a source is looked for.
func (s *Searcher) Knows(source string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.known[source]
	return ok
}

// Subject is whose workspaces are searched.
type Subject struct {
	Policy   *policy.Policy
	UID, GID uint32
}

// Result is what is wrong with a policy's workspaces; nothing, where both
// lists are empty.
type Result struct {
	// Findings and Uncovered are for people, one line each.
	Findings, Uncovered []string
	// Values say where the values are from that were looked for.
	Values []string
	Count  Count
}

// Begin has a policy's workspaces searched, so that the first command need not
// wait as long.
func (s *Searcher) Begin(of Subject) { s.join(of) }

// Ended has a policy's workspaces searched a little later, since a command has
// ended that may have written there: what it wrote is then known when the next
// one is started.
func (s *Searcher) Ended(of Subject) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.of(of)
	if all.later != nil {
		all.later.Stop()
	}
	all.later = time.AfterFunc(s.pause, func() { s.join(of) })
}

// Check gives what the last search found, or that which begins now, if the last
// began longer ago than the policy allows.
func (s *Searcher) Check(ctx context.Context, of Subject) (*Result, error) {
	f := s.join(of)
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("search: not done yet, it goes on: %w", context.Cause(ctx))
	}
	if f.err != nil {
		return nil, f.err
	}
	return Judge(of.Policy, f.report, f.values, time.Now()), nil
}

// Once searches for a policy that need not be in force, and for further values,
// by where each is from. It knows of no former search and leaves nothing to the
// next, so that its Count tells all that there is. It ends with ctx.
func (s *Searcher) Once(ctx context.Context, of Subject, also map[string][]Needle) (*Result, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	job, values := s.job(of, also)
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	job.Memory, job.Limit = "", onceLimit
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.ctx, func() { cancel(ErrClosed) })()
	report, err := Search(ctx, job)
	if err != nil {
		return nil, err
	}
	return Judge(of.Policy, report, values, time.Now()), nil
}

// Judge leaves out what a policy allows and tells the rest.
func Judge(p *policy.Policy, r *Report, values []string, now time.Time) *Result {
	result := &Result{Values: values, Count: r.Count}
	for _, f := range r.Findings {
		if f.Fingerprint == "" || !p.Hygiene.Allows(f.Fingerprint, now) {
			result.Findings = append(result.Findings, f.describe(values))
		}
	}
	for _, u := range r.Uncovered {
		result.Uncovered = append(result.Uncovered, fmt.Sprintf("%s: not searched: %s", printable(u.Path), printable(u.Reason)))
	}
	if r.Further > 0 {
		result.Uncovered = append(result.Uncovered, fmt.Sprintf("%d more are not listed", r.Further))
	}
	return result
}

// join gives the search that answers for now.
func (s *Searcher) join(of Subject) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.of(of)
	job, values := s.job(of, nil)
	if last := all.last; last != nil && last.err == nil && time.Since(last.began) < of.Policy.Hygiene.MaxAge && last.job.Needles.Identity() == job.Needles.Identity() {
		return last
	}
	if all.next == nil {
		all.next = &flight{done: make(chan struct{})}
	}
	f := all.next
	f.job, f.values = job, values // those of who asked last: it has not begun
	if all.running == nil {
		s.start(all)
	}
	return f
}

// of gives the searches of a subject. It needs the lock.
func (s *Searcher) of(of Subject) *flights {
	memory := s.memory(of)
	if s.flights[memory] == nil {
		s.flights[memory] = &flights{}
	}
	return s.flights[memory]
}

// start begins the next search. It needs the lock.
func (s *Searcher) start(all *flights) {
	if all.later != nil {
		all.later.Stop()
	}
	f := all.next
	all.running, all.next = f, nil
	f.began = time.Now()
	if s.closed {
		f.err = ErrClosed
		all.running = nil
		close(f.done)
		return
	}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		f.report, f.err = Search(s.ctx, f.job)
		s.mu.Lock()
		defer s.mu.Unlock()
		all.running, all.last = nil, f
		close(f.done)
		if all.next != nil {
			s.start(all)
		}
	}()
}

// job is the search that a policy asks for, with values besides those that are
// known, and where each of them is from. It needs the lock.
func (s *Searcher) job(of Subject, also map[string][]Needle) (Job, []string) {
	job := Job{Program: s.program, UID: of.UID, GID: of.GID, Places: Places(of.Policy), Limit: searchLimit}
	known := maps.Clone(s.known)
	maps.Copy(known, also)
	sources := slices.Sorted(maps.Keys(known))
	var needles [][]Needle
	for _, source := range sources {
		needles = append(needles, known[source])
	}
	job.Needles = Put(s.key, needles...)
	job.Memory = s.memory(of)
	return job, sources
}

// memory is the file that keeps what is known of what a subject has searched.
func (s *Searcher) memory(of Subject) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%d", of.UID, of.GID)
	for _, p := range Places(of.Policy) {
		fmt.Fprintf(h, "\x00%s", p.Name)
	}
	return filepath.Join(s.dir, hex.EncodeToString(h.Sum(nil)[:16]))
}

// Places are what a policy has searched.
func Places(p *policy.Policy) []Place {
	var places []Place
	for _, m := range p.Mounts {
		if m.Kind == policy.MountWorkspace {
			places = append(places, Place{Name: m.Source})
		}
	}
	for _, file := range p.Hygiene.Files {
		places = append(places, Place{Name: file})
	}
	return places
}

// staleAfter is when what is half written is surely left by a former searcher
// that was killed.
const staleAfter = 6 * searchLimit

// Keep forgets what is known of workspaces that none of the subjects has.
func (s *Searcher) Keep(subjects []Subject) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := map[string]bool{}
	for _, of := range subjects {
		kept[s.memory(of)] = true
	}
	if len(subjects) > 0 {
		if err := os.MkdirAll(filepath.Dir(s.dir), 0o711); err != nil { // its images are below it too
			return fmt.Errorf("make state directory: %w", err)
		}
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return fmt.Errorf("make directory of searches: %w", err)
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list former searches: %w", err)
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		stale := !kept[path]
		if all := s.flights[path]; all != nil && all.running != nil {
			stale = false
		}
		if strings.HasPrefix(e.Name(), temporary) {
			info, err := e.Info()
			stale = err == nil && time.Since(info.ModTime()) > staleAfter
		}
		if stale {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

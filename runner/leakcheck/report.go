package leakcheck

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// The states of a Place.
const (
	Covered    = "covered"     // searched, and the control was found there
	NotCovered = "not-covered" // could not be searched, or the control was not found
	Absent     = "absent"      // this host has no such place
	LeftOut    = "left-out"    // the user said so
)

// The verdicts of a Report.
const (
	Clean   = "clean"   // nothing was found, and all places are covered
	Leak    = "leak"    // the canary was found
	Unknown = "unknown" // nothing was found, but not all places are covered
)

// Place is one kind of place that was to be searched.
type Place struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
}

// Finding is one occurrence of the canary where it must not be. It never holds
// the canary.
type Finding struct {
	Place   string `json:"place"`
	Where   string `json:"where"`  // a file, a process, a name
	Offset  int64  `json:"offset"` // in bytes from the beginning of what Where names
	Form    string `json:"form"`   // how it is written there
	Process string `json:"process,omitempty"`
}

// Report is what one run has shown.
type Report struct {
	Verdict   string    `json:"verdict"`
	Policy    string    `json:"policy"`
	Engine    string    `json:"engine"`
	Variables []string  `json:"variables"`
	Sandbox   string    `json:"sandbox"`
	Reason    string    `json:"reason"`   // why the command ended
	ExitCode  int       `json:"exitCode"` // the command's
	Places    []Place   `json:"places"`
	Findings  []Finding `json:"findings"`
	LeftOut   []string  `json:"leftOut"` // places and paths, by the user's word
	// Limits are what no run can show.
	Limits []string `json:"limits"`
}

// maxFindings bounds a report: where there are more, one more tells nothing.
const maxFindings = 200

// notes collects what several searches say at once.
type notes struct {
	except []string
	// hidden are the forms of the canary: a name that is reported may hold one.
	hidden []Form

	mu       sync.Mutex
	order    []string
	places   map[string]*note
	findings []Finding
	spaces   []string // the PID namespace of the process of each finding
	command  string   // that of the command, once it is known
	known    map[Finding]bool
}

// note is what is known of one place.
type note struct {
	searched int      // things in it
	what     string   // those things, in the plural
	controls []string // not found yet
	problems []string
	more     int // problems, beyond those
	absent   string
	leftOut  bool
}

// maxProblems bounds the problems of one place that are named.
const maxProblems = 4

func newNotes(canary Canary, except []string) *notes {
	return &notes{except: except, hidden: canary.Forms(), places: map[string]*note{}, known: map[Finding]bool{}}
}

// place is the note of that name; it needs the lock.
func (n *notes) place(name string) *note {
	if n.places[name] == nil {
		n.places[name] = &note{}
		n.order = append(n.order, name)
	}
	return n.places[name]
}

// expect says that a place is covered only if these controls are found in it.
func (n *notes) expect(place, things string, controls ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.place(place)
	p.what = things
	p.controls = append(p.controls, controls...)
}

// found says that a control was.
func (n *notes) found(place, control string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.place(place)
	p.controls = slices.DeleteFunc(p.controls, func(c string) bool { return c == control })
}

// searched counts things of a place.
func (n *notes) searched(place string, more int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.place(place).searched += more
}

// problem says why a place is not covered.
func (n *notes) problem(place, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.place(place)
	text := n.safe(fmt.Sprintf(format, args...))
	switch {
	case slices.Contains(p.problems, text):
	case len(p.problems) < maxProblems:
		p.problems = append(p.problems, text)
	default:
		p.more++
	}
}

// leaveOut says that the user wants a place left out by the path it is about.
func (n *notes) leaveOut(place string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.place(place).leftOut = true
}

// absent says that this host has no such place.
func (n *notes) absent(place, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.place(place).absent = why
}

// safe is a text without the canary.
func (n *notes) safe(text string) string {
	for _, f := range n.hidden {
		text = strings.ReplaceAll(text, string(f.Text), "[canary]")
	}
	return text
}

// leak notes an occurrence of the canary for each form that was seen.
func (n *notes) leak(place, where string, by process, found seen) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range found.hits {
		// The same form in the same thing is one finding, wherever it has moved.
		key := Finding{Place: place, Where: n.safe(where), Form: h.form}
		if n.known[key] || len(n.findings) >= maxFindings {
			continue
		}
		n.known[key] = true
		key.Offset, key.Process = h.offset, n.safe(by.name)
		n.findings, n.spaces = append(n.findings, key), append(n.spaces, by.space)
	}
}

// leftOut reports whether the user wants a place, or a path, left out.
func (n *notes) leftOut(place string) bool {
	return slices.ContainsFunc(n.except, func(e string) bool {
		return place == e || strings.HasPrefix(e, "/") && strings.HasPrefix(place, strings.TrimSuffix(e, "/")+"/")
	})
}

// ofCommand says which PID namespace is the command's.
func (n *notes) ofCommand(space string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.command = space
}

// fill puts everything into a report, and gives the verdict.
func (n *notes) fill(r *Report) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r.Places, r.Findings, r.Verdict = []Place{}, append([]Finding{}, n.findings...), Clean
	for _, name := range n.order {
		place := n.places[name].told(name)
		if n.leftOut(name) || n.places[name].leftOut {
			place.State, place.Detail = LeftOut, "by --except"
		}
		if place.State == NotCovered {
			r.Verdict = Unknown
		}
		r.Places = append(r.Places, place)
	}
	for i := range r.Findings {
		r.Verdict = Leak
		if n.command != "" && n.spaces[i] == n.command {
			r.Findings[i].Process += ", of the command"
		}
	}
}

func (p *note) told(name string) Place {
	var problems []string
	if len(p.controls) > 0 {
		problems = append(problems, "the control was not found: "+strings.Join(p.controls, ", "))
	}
	problems = append(problems, p.problems...)
	if p.more > 0 {
		problems = append(problems, fmt.Sprintf("and %d more", p.more))
	}
	if p.absent != "" {
		return Place{name, Absent, p.absent}
	}
	if len(problems) > 0 {
		return Place{name, NotCovered, strings.Join(problems, "; ")}
	}
	return Place{name, Covered, fmt.Sprintf("%d %s", p.searched, p.what)}
}

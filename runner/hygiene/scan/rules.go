package scan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/logging"

	tokentext "github.com/creel-sandbox/creel/runner/token/text"
)

// rules are those of gitleaks, as they come, and one of our own. They are read when the first text
// is to be searched: a search that finds nothing new needs none.
//
// The rules cost some microseconds for each hundred bytes, and the versions of a file in
// a history have most lines in common. So each line is searched once, together
// with its neighbours, and a line that was searched without finding anything
// is left out afterwards.
type rules struct {
	detector *detect.Detector
	byPath   []config.Rule // that look at a file's name
	classes  map[string]class
	seed     maphash.Seed
	clean    map[uint64]struct{} // lines, and the class of their file
}

// ruleHit is what a rule found.
type ruleHit struct {
	line              int // from 1; 0: the file as a whole
	rule, fingerprint string
}

// class is what the rules make of a file's name.
type class struct {
	exempt bool   // the rules leave such files out
	named  uint64 // which rules look at files of this name, as bits
}

const (
	// context is how many lines around a new one are searched with it.
	context = 6
	// maxWindow is how many bytes are searched at once: the rules are slower
	// on more. A key in PEM may take maxKeyWindow (RFC 7468: RSA with 16384
	// bits has 12.7 kB).
	maxWindow    = 2 << 10
	maxKeyWindow = 20 << 10
	// maxLine is where a line is cut, and lineOverlap what its parts share: more
	// than what any rule but that of keys finds in one line.
	maxLine     = 8 << 10
	lineOverlap = 1 << 10
	// maxClean bounds the lines that are known to be clean.
	maxClean = 4 << 20
	// maxClasses bounds the names whose class is known.
	maxClasses = 1 << 16
	// shortLine is the longest line in which nothing can be found by itself.
	shortLine = 7
)

// rulesVersion changes with the rules, and with how they are applied.
func rulesVersion() string {
	sum := sha256.Sum256([]byte("1\n" + config.DefaultConfig + tokenRule.Regex.String()))
	return hex.EncodeToString(sum[:16])
}

// tokenRule finds creel's own API tokens: who has one can run commands.
var tokenRule = config.Rule{
	RuleID: "creel-api-token", Description: "an API token of creel", Regex: regexp.MustCompile(tokentext.Pattern), Keywords: []string{tokentext.Prefix},
}

// detector is made once. What a searched file says of the search (a comment
// "gitleaks:allow") has no effect, and nothing is logged: a log line could hold
// what was found.
var detector = sync.OnceValue(func() *detect.Detector {
	logging.Logger = zerolog.Nop()
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		panic(fmt.Sprintf("the library's own rules: %v", err)) // they are constant
	}
	cfg := d.Config
	cfg.Rules[tokenRule.RuleID] = tokenRule
	cfg.Keywords[tokentext.Prefix] = struct{}{}
	d = detect.NewDetector(cfg)
	d.IgnoreGitleaksAllow = true
	return d
})

// load makes the rules ready.
func (r *rules) load() {
	if r.detector == nil {
		r.use(detector())
	}
}

func (r *rules) use(d *detect.Detector) {
	r.detector, r.seed = d, maphash.MakeSeed()
	r.classes, r.clean = map[string]class{}, map[uint64]struct{}{}
	for _, id := range slices.Sorted(maps.Keys(r.detector.Config.Rules)) {
		if rule := r.detector.Config.Rules[id]; rule.Path != nil {
			r.byPath = append(r.byPath, rule)
		}
	}
}

// classOf tells what the rules make of a name.
func (r *rules) classOf(name string) class {
	if c, ok := r.classes[name]; ok {
		return c
	}
	var c class
	for _, list := range r.detector.Config.Allowlists {
		c.exempt = c.exempt || len(list.Paths) > 0 && list.MatchCondition != config.AllowlistMatchAnd && list.PathAllowed(name)
	}
	for i, rule := range r.byPath {
		if rule.Path.MatchString(name) {
			c.named |= 1 << i
		}
	}
	if len(r.classes) < maxClasses {
		r.classes[name] = c
	}
	return c
}

// better says whether of two names of one content the second is the one to
// tell the rules: one that a rule looks at before any other, and one that is
// left out last.
func (r *rules) better(old, other string) bool {
	r.load()
	rank := func(c class) int {
		switch {
		case c.exempt:
			return 0
		case c.named == 0:
			return 1
		}
		return 2
	}
	return rank(r.classOf(path.Base(other))) > rank(r.classOf(path.Base(old)))
}

// find applies the rules to a text. It gives what they find, to how many bytes
// they were applied, and whether they leave such a file out.
func (r *rules) find(data []byte, name string) (hits []ruleHit, read int64, exempt bool) {
	r.load()
	class := r.classOf(name)
	if class.exempt {
		return nil, 0, true
	}
	if class.named != 0 { // some rules look at nothing but the name
		hits = r.detect(nil, name, 0)
	}
	lines := r.split(data, class)
	for i := 0; i < len(lines); {
		if !lines[i].near {
			i++
			continue
		}
		end := window(lines, i)
		part := data[lines[i].start:lines[end-1].end]
		read += int64(len(part))
		found := r.detect(part, name, lines[i].number)
		hits = append(hits, found...)
		if len(found) == 0 {
			r.keepClean(lines[i:end])
		}
		if end == len(lines) {
			break
		}
		next := end
		if lines[end].near { // the next begins in this one, so that nothing is cut
			next = max(i+1, end-context)
		}
		i = next
	}
	return hits, read, false
}

// line is one line of a text: its bytes from start to end, hash of them, and
// whether it is to be searched.
type line struct {
	start, end int
	number     int // from 1
	hash       uint64
	fresh      bool // not known to be clean
	near       bool // fresh, or close to one that is
	key        bool // part of a key may follow
}

func (r *rules) split(data []byte, class class) []line {
	lines := make([]line, 0, len(data)/32+1)
	for start, number := 0, 1; start < len(data); {
		end, next := len(data), len(data)
		if i := bytes.IndexByte(data[start:], '\n'); i >= 0 {
			end, next = start+i+1, start+i+1
		}
		l := line{start: start, end: end, number: number}
		number++
		if end-start > maxLine { // it is cut, and its parts overlap
			l.end, next, number = start+maxLine, start+maxLine-lineOverlap, l.number
		}
		text := bytes.TrimSpace(data[start:l.end])
		if len(text) > shortLine {
			l.hash = maphash.Bytes(r.seed, text) ^ class.named<<32
			_, clean := r.clean[l.hash]
			l.fresh = !clean
			l.key = bytes.Contains(text, []byte("-----BEGIN"))
		}
		lines = append(lines, l)
		start = next
	}
	until := -1 // the last line that is near because of one before
	for i := range lines {
		if lines[i].fresh {
			for j := max(0, i-context); j < i; j++ {
				lines[j].near = true
			}
			until = i + context
		}
		lines[i].near = lines[i].near || i <= until
	}
	return lines
}

// window says where the lines that are searched together from i on end.
func window(lines []line, i int) int {
	most := maxWindow
	end := i
	for end < len(lines) && lines[end].near {
		if lines[end].key {
			most = maxKeyWindow
		}
		if end > i && lines[end].end-lines[i].start > most {
			break
		}
		end++
	}
	return end
}

func (r *rules) keepClean(lines []line) {
	for _, l := range lines {
		if l.fresh && len(r.clean) < maxClean {
			r.clean[l.hash] = struct{}{}
		}
	}
}

// detect applies the rules to one part of a text, whose first line has the
// number first.
func (r *rules) detect(part []byte, name string, first int) (hits []ruleHit) {
	//lint:ignore SA1019 Detect takes no other type in this version of the library
	for _, f := range r.detector.Detect(detect.Fragment{Raw: string(part), FilePath: name, StartLine: first}) {
		h := ruleHit{line: f.StartLine, rule: f.RuleID, fingerprint: Fingerprint(f.RuleID, cmp.Or(f.Secret, f.Match))}
		if first == 0 {
			h.line = 0
		}
		if !slices.Contains(hits, h) {
			hits = append(hits, h)
		}
	}
	return hits
}

// Fingerprint names what a rule found, wherever it is. It is cut to 64 bits: a
// policy that lists it says little of the text, and nobody finds another one
// with the same.
func Fingerprint(rule, secret string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{"creel hygiene", rule, secret}, "\x00")))
	return hex.EncodeToString(sum[:8])
}

package policy

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that is compiled when it is first asked.
// Most policies and most programs need few of them.
type pattern struct {
	text     string
	once     sync.Once
	compiled *regexp.Regexp
}

func matching(text string) *pattern { return &pattern{text: text} }

func (p *pattern) expression() *regexp.Regexp {
	p.once.Do(func() { p.compiled = regexp.MustCompile(p.text) })
	return p.compiled
}

func (p *pattern) String() string                  { return p.text }
func (p *pattern) MatchString(text string) bool    { return p.expression().MatchString(text) }
func (p *pattern) submatches(text string) []string { return p.expression().FindStringSubmatch(text) }

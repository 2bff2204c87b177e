package policy

import (
	"regexp"
	"sync"
)

// pattern is a regular expression that is compiled when it is first asked.
// creel starts once per command and rarely reads a policy; compiling all of
// them at every start took a third of its time.
type pattern struct {
	text     string
	compiled func() *regexp.Regexp
}

func matching(text string) *pattern {
	return &pattern{text, sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

func (p *pattern) String() string                  { return p.text }
func (p *pattern) MatchString(text string) bool    { return p.compiled().MatchString(text) }
func (p *pattern) submatches(text string) []string { return p.compiled().FindStringSubmatch(text) }

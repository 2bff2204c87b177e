package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var compareAddresses = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

// minimal is the smallest policy, one key per line.
const minimal = `apiVersion: creel/v1
kind: Policy
name: minimal
justification: The team's build runs here.
owner: ops@example.org
reviewBy: 2027-02-01
root: {host: true}
user: openclaw
callers: {users: [openclaw]}
`

// with is the smallest policy with lines replaced by their key, or added.
func with(lines ...string) string {
	out := strings.Split(strings.TrimSuffix(minimal, "\n"), "\n")
	for _, line := range lines {
		key, _, _ := strings.Cut(line, ":")
		i := slices.IndexFunc(out, func(have string) bool { return strings.HasPrefix(have, key+":") })
		if i < 0 {
			out = append(out, line)
		} else {
			out[i] = line
		}
	}
	return strings.Join(out, "\n") + "\n"
}

func mustParse(t testing.TB, text string) *Policy {
	t.Helper()
	p, problems := Parse("test.yaml", []byte(text))
	if p == nil {
		t.Fatalf("a good policy was refused:\n%s%s", lines(problems), text)
	}
	return p
}

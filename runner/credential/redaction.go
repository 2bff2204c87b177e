package credential

import (
	"fmt"

	"github.com/creel-sandbox/creel/runner/credential/redact"
)

// NewMatcher makes what takes the values out of output. It refuses a value
// that could not be told from what occurs there by chance.
func NewMatcher(resolved []Resolved) (*redact.Matcher, error) {
	values := make([]redact.Value, 0, len(resolved))
	for _, r := range resolved {
		if err := CheckValue(r.Secret); err != nil {
			return nil, fmt.Errorf("redact %s: %w", r.Env, err)
		}
		values = append(values, redact.Value{Name: r.Env, Bytes: r.Secret.Reveal()})
	}
	return redact.NewMatcher(values)
}

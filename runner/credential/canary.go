package credential

import (
	"fmt"
	"strings"

	"github.com/creel-sandbox/creel/policy"
)

// canaryCopies is how often a value repeats the canary, so that one copy is
// whole where a block of a disk ends or was used again.
const canaryCopies = 3

// Canaries makes, for each credential, a value that is no secret and that
// somebody will search for. The canary, base32 text, is in each of them, with
// the variable's name behind it. The length of a copy is no multiple of three,
// so that base64 of the value has the canary in each of its alignments.
func Canaries(canary string, credentials []policy.Credential) ([]Resolved, error) {
	var values []Resolved
	for _, c := range credentials {
		text := canary + "-" + c.Env + "."
		if len(text)%3 == 0 {
			text += "."
		}
		secret := NewSecret([]byte(strings.Repeat(text, canaryCopies)))
		values = append(values, Resolved{Env: c.Env, Secret: secret})
		if err := CheckValue(secret); err != nil { // there may be no memory to lock
			DestroyAll(values)
			return nil, fmt.Errorf("plant canary %s: %w", c.Env, err)
		}
	}
	return values, nil
}

package credential

import (
	"bytes"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/credential/redact"
)

func TestValueThatCannotBeRedactedIsRefused(t *testing.T) {
	matcher := func(value string) (*redact.Matcher, error) {
		return NewMatcher([]Resolved{
			{Env: "A", Secret: NewSecret([]byte("long enough"))}, {Env: "B", Secret: NewSecret([]byte(value))},
		})
	}
	for _, value := range []string{"", "1234567", "1234567\r", strings.Repeat("x", MaxValue+1), "with\x00a NUL", "         "} {
		if _, err := matcher(value); err == nil {
			t.Errorf("a value of %d bytes was taken", len(value))
		} else if !strings.Contains(err.Error(), "redact B") {
			t.Errorf("the error does not name the variable: %v", err)
		}
	}
	for _, value := range []string{"12345678", strings.Repeat("x", MaxValue)} {
		m, err := matcher(value)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		r := redact.NewRedactor(&out, m)
		if _, err := r.Write([]byte("-" + value + "-")); err != nil || r.Close() != nil || out.String() != "-[redacted:B]-" {
			t.Errorf("control: a value of %d bytes: %d bytes came out, %v", len(value), out.Len(), err)
		}
		m.Destroy()
	}
}

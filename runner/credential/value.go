package credential

import (
	"bytes"
	"errors"
	"fmt"
)

// The bounds of a value in bytes. One environment string, name included, may
// have 128 KiB (MAX_ARG_STRLEN, execve(2)). A shorter value than the minimum
// is likely to occur in output by chance, so redacting it would mangle the
// output and say where it stands.
const (
	MinValue = 8
	MaxValue = 64 << 10
)

// maxRaw is the longest value and its line end.
const maxRaw = MaxValue + 1

// newValue makes a Secret of what a provider read. It takes raw over and
// wipes it if it is refused. One newline at the end is the end of the line
// that a file or a helper's output is written in, not part of the value; a
// second one, or a carriage return, is.
func newValue(raw []byte) (Secret, error) {
	secret := NewSecret(bytes.TrimSuffix(raw, []byte("\n")))
	if err := CheckValue(secret); err != nil {
		zero(raw)
		return Secret{}, err
	}
	return secret, nil
}

// CheckValue says why a value cannot be delivered as an environment variable
// and redacted. No error tells more of it than its length.
func CheckValue(secret Secret) error {
	value := secret.Reveal()
	switch {
	case len(value) == 0:
		return errors.New("check value: it is empty")
	case len(value) < MinValue:
		return fmt.Errorf("check value: it has %d bytes; fewer than %d cannot be redacted", len(value), MinValue)
	case len(value) > MaxValue:
		return fmt.Errorf("check value: it has more than %d bytes", MaxValue)
	case bytes.IndexByte(value, 0) >= 0:
		return errors.New("check value: it holds a NUL byte, which no environment variable can")
	case len(bytes.TrimSpace(value)) == 0:
		return errors.New("check value: it is only white space")
	}
	return nil
}

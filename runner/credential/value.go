package credential

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/credential/redact"
	"github.com/creel-sandbox/creel/runner/registers"
)

// The bounds of a value in bytes. One environment string, name included, may
// have 128 KiB (MAX_ARG_STRLEN, execve(2)). A shorter value than the minimum
// is likely to occur in output by chance, so redacting it would mangle the
// output and say where it stands.
const (
	MinValue = redact.MinValue
	MaxValue = 64 << 10
)

// maxRaw is the longest value and its line end.
const maxRaw = MaxValue + 1

// newValue makes a Secret of what a provider read. It takes raw over. One
// newline at the end is the end of the line that a file or a helper's output is
// written in, not part of the value; a second one, or a carriage return, is.
func newValue(raw *locked.Buffer) (Secret, error) {
	defer raw.Free()
	buffer, err := locked.Copy(bytes.TrimSuffix(raw.Bytes(), []byte("\n")))
	if err != nil {
		return Secret{}, fmt.Errorf("keep value: %w", err)
	}
	secret := Lock(buffer)
	if err := CheckValue(secret); err != nil {
		secret.Destroy()
		return Secret{}, err
	}
	return secret, nil
}

// CheckValue says why a value cannot be delivered as an environment variable
// and redacted. No error tells more of it than its length.
func CheckValue(secret Secret) error {
	defer registers.Clear()
	value, err := secret.reveal()
	switch {
	case err != nil:
		return fmt.Errorf("keep value: %w", err)
	case len(value) == 0:
		return errors.New("check value: it is empty")
	case len(redact.WithoutReturns(value)) < MinValue:
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

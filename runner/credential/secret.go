// Package credential fetches the secret values that a policy names, keeps
// them where no log or encoder finds them, and has package redact take them out
// of output.
//
// It imports policy, boottime, child, filestate, locked, redact, registers, the
// standard library and golang.org/x/sys. It never reads the process environment, never writes a
// value to a file, a log, an error or an argument vector, and keeps no value
// longer than its Secret.
//
// A value is read into locked memory (package locked) and stays there. That
// the rest of the process, where libraries may hold copies, is neither swapped
// nor dumped is for the process to see to (a control group without swap,
// RLIMIT_CORE, PR_SET_DUMPABLE, coredump_filter).
package credential

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/creel-sandbox/creel/runner/credential/locked"
)

// hidden is what every formatter prints in place of a value.
const hidden = "[secret]"

// errEncode refuses the encodings that are meant to be decoded again.
var errEncode = errors.New("encode secret: a secret is not encoded; use Reveal where it must be sent")

// Secret is one secret value, in locked memory. Copies share it, and Destroy
// wipes it for all of them. The zero Secret is an empty, destroyed one.
//
// The value is behind a closure, so that printers that walk unexported fields
// by reflection, where methods are not called, do not come to it either.
type Secret struct {
	access func(destroy bool) ([]byte, error)
}

// NewSecret moves value into locked memory: where it was is zero afterwards.
// Where no memory can be locked the Secret is empty, and CheckValue says why.
func NewSecret(value []byte) Secret {
	defer locked.Zero(value)
	buffer, err := locked.Copy(value)
	if err != nil {
		return Secret{access: func(bool) ([]byte, error) { return nil, err }}
	}
	return Lock(buffer)
}

// Lock makes a Secret of what is in a buffer, and takes the buffer over.
func Lock(buffer *locked.Buffer) Secret {
	var mu sync.Mutex
	return Secret{access: func(destroy bool) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if destroy {
			buffer.Free()
		}
		return buffer.Bytes(), nil
	}}
}

// Reveal returns the value itself, not a copy; it is nil once destroyed. It
// must be neither changed nor kept: after Destroy its memory is zero, and then
// another value's.
func (s Secret) Reveal() []byte {
	value, _ := s.reveal()
	return value
}

func (s Secret) reveal() ([]byte, error) {
	if s.access == nil {
		return nil, nil
	}
	return s.access(false)
}

// Len is the length of the value in bytes.
func (s Secret) Len() int { return len(s.Reveal()) }

// Destroy overwrites the value with zeros. It may be called more than once.
func (s Secret) Destroy() {
	if s.access != nil {
		_, _ = s.access(true)
	}
}

// String implements fmt.Stringer and hides the value, as do the methods below
// for the interface each is named after.
func (s Secret) String() string { return hidden }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return hidden }

// Format implements fmt.Formatter, for every verb and flag.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, hidden) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText implements encoding.TextMarshaler, and with it XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// MarshalYAML implements the Marshaler of go.yaml.in/yaml.
func (s Secret) MarshalYAML() (any, error) { return hidden, nil }

// MarshalBinary implements encoding.BinaryMarshaler and fails.
func (s Secret) MarshalBinary() ([]byte, error) { return nil, errEncode }

// GobEncode implements gob.GobEncoder and fails.
func (s Secret) GobEncode() ([]byte, error) { return nil, errEncode }

// Package credential fetches the secret values that a policy names, keeps
// them where no log or encoder finds them, and takes them out of output.
//
// It imports policy, boottime, the standard library and golang.org/x/sys. It never
// reads the process environment, never writes a value to a file, a log, an
// error or an argument vector, and keeps no value longer than its Secret.
//
// A value passes through this process's memory: that the memory is neither
// swapped nor dumped is for the process to see to (mlockall or a cgroup
// without swap, RLIMIT_CORE, PR_SET_DUMPABLE), because the pipes and frames
// that carry a value hold copies that this package cannot reach.
//
// Current limitations: a value is found in output only as its exact bytes
// (and with CRLF line ends, as a terminal writes them), not encoded, cut or
// reversed. Redaction guards against accidents; a command that holds a
// credential can always give it away in disguise.
package credential

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
)

// hidden is what every formatter prints in place of a value.
const hidden = "[secret]"

// errEncode refuses the encodings that are meant to be decoded again.
var errEncode = errors.New("encode secret: a secret is not encoded; use Reveal where it must be sent")

// Secret is one secret value. Copies share it, and Destroy wipes it for all
// of them. The zero Secret is an empty, destroyed one.
//
// The bytes live in a closure, so that printers that walk unexported fields
// by reflection, where methods are not called, do not come to them either.
type Secret struct {
	access func(wipe bool) []byte
}

// NewSecret takes value over: the caller must not use it afterwards.
func NewSecret(value []byte) Secret {
	var mu sync.Mutex
	value = value[:len(value):len(value)]
	return Secret{access: func(wipe bool) []byte {
		mu.Lock()
		defer mu.Unlock()
		if wipe {
			zero(value)
			value = nil
		}
		return value
	}}
}

// zero wipes b for good: the KeepAlive keeps the store from being optimised
// away as dead.
func zero(b []byte) {
	clear(b)
	runtime.KeepAlive(&b)
}

// Reveal returns the value itself, not a copy: it must be neither changed nor
// kept, and Destroy turns it into zeros. It is nil once destroyed.
func (s Secret) Reveal() []byte {
	if s.access == nil {
		return nil
	}
	return s.access(false)
}

// Len is the length of the value in bytes.
func (s Secret) Len() int { return len(s.Reveal()) }

// Destroy overwrites the value with zeros. It may be called more than once.
func (s Secret) Destroy() {
	if s.access != nil {
		s.access(true)
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

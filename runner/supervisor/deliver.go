package supervisor

import (
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/registers"
)

// entries are the environment strings of credentials, in locked memory.
type entries []*locked.Buffer

// newEntries joins each credential with the name of its variable.
func newEntries(secrets []credential.Resolved) (entries, error) {
	var all entries
	for _, secret := range secrets {
		value := secret.Secret.Reveal()
		entry, err := locked.New(len(secret.Env) + 1 + len(value))
		if err != nil {
			all.free()
			return nil, err
		}
		name := copy(entry.Bytes(), secret.Env+"=")
		locked.Move(entry.Bytes()[name:], value)
		all = append(all, entry)
	}
	return all, nil
}

// strings are the entries themselves, not copies.
func (e entries) strings() [][]byte {
	var out [][]byte
	for _, entry := range e {
		out = append(out, entry.Bytes())
	}
	return out
}

func (e entries) free() {
	for _, entry := range e {
		entry.Free()
	}
}

// lockedMemory is what a job that has credentials is encoded in.
func lockedMemory(size int) (initproto.Memory, error) {
	buffer, err := locked.New(size)
	if err != nil {
		return initproto.Memory{}, err
	}
	return initproto.Memory{Bytes: buffer.Bytes(), Written: registers.Clear, Free: buffer.Free}, nil
}

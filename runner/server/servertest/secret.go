package servertest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
)

// SetSecret implements server.SecretKeeper. The host keeps values in the
// clear, to show what came of them.
func (h *Host) SetSecret(_ context.Context, name string, value *os.File) (*api.SecretsReply, error) {
	if _, ok := h.Secret(name); ok {
		value.Close()
		return nil, &api.Error{Code: "secret", Message: fmt.Sprintf("there is a secret %s", name)}
	}
	return h.keep(name, value)
}

// RotateSecret implements server.SecretKeeper.
func (h *Host) RotateSecret(_ context.Context, name string, value *os.File) (*api.SecretsReply, error) {
	return h.keep(name, value)
}

func (h *Host) keep(name string, value *os.File) (*api.SecretsReply, error) {
	defer value.Close()
	data, err := io.ReadAll(value)
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.secrets == nil {
		h.secrets = map[string]string{}
	}
	h.secrets[name] = string(data)
	return h.list(name), nil
}

// Secret is the value that was given to the host.
func (h *Host) Secret(name string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	value, ok := h.secrets[name]
	return value, ok
}

// list needs the lock.
func (h *Host) list(names ...string) *api.SecretsReply {
	reply := &api.SecretsReply{Secrets: []api.Secret{}}
	for _, name := range names {
		day := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
		one := api.Secret{Name: name, State: api.SecretOK, Created: day, Rotated: day, Age: 50 * time.Hour, Policies: []string{}}
		if name == "used" {
			one.Policies = []string{api.DefaultPolicy, "exec-build"}
		}
		reply.Secrets = append(reply.Secrets, one)
	}
	return reply
}

// RemoveSecrets implements server.SecretKeeper.
func (h *Host) RemoveSecrets(_ context.Context, names []string) (*api.SecretsReply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	reply := h.list(names...)
	for i, name := range names {
		if _, ok := h.secrets[name]; !ok {
			return nil, &api.Error{Code: "secret", Message: fmt.Sprintf("there is no secret %s", name)}
		}
		reply.Secrets[i].State = api.SecretRemoved
		delete(h.secrets, name)
	}
	return reply, nil
}

// Secrets implements server.SecretKeeper.
func (h *Host) Secrets(context.Context) (*api.SecretsReply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	reply := h.list(slices.Sorted(maps.Keys(h.secrets))...)
	reply.Secrets = append(reply.Secrets, api.Secret{Name: "wanted", State: api.SecretMissing, Policies: []string{"exec-build"}})
	return reply, nil
}

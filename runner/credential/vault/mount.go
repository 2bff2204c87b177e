package vault

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// mount is what is known of the engine that a path belongs to; its kind is
// empty where the login may not ask.
type mount struct {
	at, kind, version string
	asked             time.Time
}

// mountAge is how long an answer serves: mounts change rarely.
const mountAge = time.Minute

// data is where version 2 of KV keeps what is at a path. One that says data/
// itself is taken at its word.
func (m mount) data(where string) string {
	rest := strings.TrimPrefix(where, m.at)
	if strings.HasPrefix(rest, "data/") {
		return where
	}
	return path.Join(m.at, "data", rest)
}

// mountOf asks which engine a path belongs to, as Vault's own command line
// does.
func (p *Provider) mountOf(ctx context.Context, client *api.Client, where string) (mount, error) {
	p.mu.Lock()
	m, known := p.mounts[where]
	p.mu.Unlock()
	if known && time.Since(m.asked) < mountAge {
		return m, nil
	}
	secret, err := repeat(ctx, always, func() (*api.Secret, error) {
		return client.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts/"+where)
	})
	m = mount{asked: time.Now()}
	var refused *api.ResponseError
	switch {
	case errors.As(err, &refused) && (refused.StatusCode == 403 || refused.StatusCode == 404):
	case err != nil:
		return mount{}, err
	case secret != nil:
		m.at, _ = secret.Data["path"].(string)
		m.kind, _ = secret.Data["type"].(string)
		if options, ok := secret.Data["options"].(map[string]any); ok {
			m.version, _ = options["version"].(string)
		}
		if m.kind == "generic" { // what KV version 1 was called
			m.kind = "kv"
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.mounts) > 1024 { // one for each reference of the policies; this many were of former ones
		clear(p.mounts)
	}
	p.mounts[where] = m
	return m, nil
}

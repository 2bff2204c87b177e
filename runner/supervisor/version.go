package supervisor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
)

// Version implements server.Backend.
func (s *Supervisor) Version(ctx context.Context) *api.VersionReply {
	reply := &api.VersionReply{Version: api.Version, Engine: string(s.declared.Load().Config.Engine)}
	var err error
	if reply.Runtime, err = s.version(ctx); err != nil {
		reply.Runtime = err.Error()
	}
	return reply
}

// versionTimeout bounds the wait for an engine to name its version, and
// versionAge how long the answer serves: anybody may ask, and each question
// starts a process.
const (
	versionTimeout = 5 * time.Second
	versionAge     = time.Minute
)

// versions remembers what the default engine answered last.
type versions struct {
	mu   sync.Mutex
	text string
	err  error
	at   time.Time
}

// version is that of the default engine.
func (s *Supervisor) version(ctx context.Context) (string, error) {
	v := &s.versions
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.at.IsZero() || time.Since(v.at) > versionAge {
		v.text, v.err = s.askVersion(ctx)
		v.at = time.Now()
	}
	return v.text, v.err
}

func (s *Supervisor) askVersion(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	name := s.declared.Load().Config.Engine
	e, ok := s.cfg.Engines[name]
	if !ok {
		return "", fmt.Errorf("this host has no %s engine", name)
	}
	return e.Version(ctx)
}

package main

import (
	"context"
	"strings"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/supervisor"
)

// reload puts what is on disk in force, or says why it cannot.
func (d *daemon) reload() error {
	notify(d.log, stateReloading())
	defer notify(d.log, stateReady)
	if err := d.supervisor.Reload(); err != nil {
		const refused = "reload refused; the last good configuration stays in force"
		d.log.WithError(err).Error(refused)
		return &api.Error{
			Code: "bad-configuration", Message: refused, Details: strings.Split(err.Error(), "\n"), ExitCode: api.ExitFailed,
			Hint: "mend the file and reload again; `creel policy check` checks a policy before",
		}
	}
	d.server.SetAdmins(d.supervisor.Admins())
	d.log.Info("reloaded")
	return nil
}

// askReload has serve, which reloads and stops one at a time, reload.
func (d *daemon) askReload(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case d.reloads <- done:
		return <-done
	case <-d.stopping:
		return supervisor.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

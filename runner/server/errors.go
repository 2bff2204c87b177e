package server

import (
	"errors"
	"fmt"
	"os"

	"github.com/creel-sandbox/creel/runner/api"
)

var (
	errClosing = &api.Error{
		Code:     api.CodeClosing,
		Message:  "the supervisor is stopping",
		Hint:     "try again when it has restarted: systemctl status creeld",
		ExitCode: api.ExitFailed,
	}
	errInside = &api.Error{
		Code:     api.CodeDenied,
		Message:  "no sandbox may use this socket",
		Hint:     "an agent has one of its own: a mount of kind exec of its policy",
		ExitCode: api.ExitFailed,
	}
	errHungUp = &api.Error{
		Code:     api.CodeDenied,
		Message:  "the agent that this socket is for ended while it was called",
		Hint:     "try again once the agent is back: creel ps says how it is",
		ExitCode: api.ExitFailed,
	}
	errBusyLarge = &api.Error{
		Code:     api.CodeBusy,
		Message:  "too many large requests are being sent at once",
		Hint:     "try again, or pass large data on stdin instead of as arguments",
		ExitCode: api.ExitFailed,
	}
)

func errBusy(uid uint32) *api.Error {
	return &api.Error{
		Code:     api.CodeBusy,
		Message:  fmt.Sprintf("too many connections at once by uid %d or by all callers", uid),
		Hint:     "wait for running commands to end; `creel ps` lists them",
		ExitCode: api.ExitFailed,
	}
}

// badFrame says what was wrong with a message.
func badFrame(err error) *api.Error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return api.BadRequest("", "no whole message came in time")
	}
	return asError(err, func() *api.Error {
		return api.BadRequest("use a creel of the same version as creeld: creel version", "%v", err)
	})
}

// internal is the error for whatever a backend did not put into words.
func internal(err error) *api.Error {
	return asError(err, func() *api.Error {
		return &api.Error{
			Code:     api.CodeInternal,
			Message:  err.Error(),
			Hint:     "the supervisor's log may say more: journalctl -u creeld",
			ExitCode: api.ExitFailed,
		}
	})
}

func asError(err error, otherwise func() *api.Error) *api.Error {
	var known *api.Error
	if !errors.As(err, &known) {
		return otherwise()
	}
	whole := *known // the original may be shared
	if whole.ExitCode == 0 {
		whole.ExitCode = api.ExitFailed
	}
	return &whole
}

// denied names the exact command or change that mends a refusal.
func (c *call) denied(route string) *api.Error {
	e := &api.Error{Code: api.CodeDenied, ExitCode: api.ExitFailed}
	if c.server.isAdmin(c.peer.UID) {
		e.Message = fmt.Sprintf("%q is served on the admin socket alone, not on this one", route)
		e.Hint = "leave CREEL_ADMIN_SOCKET unset, or point it at " + api.AdminSocketName + " of the supervisor's runtimeDir"
		return e
	}
	e.Message = fmt.Sprintf("uid %d may not use %q: it is for root and the admins of %s",
		c.peer.UID, route, c.server.options.ConfigPath)
	e.Hint = fmt.Sprintf("run `sudo creel %s`, or add %d to `admins:` in %s and run `sudo systemctl reload creeld`",
		command(route), c.peer.UID, c.server.options.ConfigPath)
	return e
}

// deniedToOthers refuses what admins may not do either.
func (c *call) deniedToOthers(route string) *api.Error {
	return &api.Error{Code: api.CodeDenied, ExitCode: api.ExitFailed,
		Message: fmt.Sprintf("uid %d may not use %q: it is for root alone", c.peer.UID, route),
		Hint:    fmt.Sprintf("run `sudo creel %s`", command(route))}
}

// command is what a user types for a route, where it is not the route's name.
func command(route string) string {
	switch route {
	case api.RouteRevoke:
		return "credential revoke"
	case api.RoutePlaces, api.RouteCanary:
		return "credential verify-no-leak"
	}
	return route
}

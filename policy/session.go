package policy

import "time"

// Scope says what commands share.
type Scope string

// The scopes a policy can declare.
const (
	// ScopeCommand: nothing, and nothing of a command is left when it ends.
	ScopeCommand Scope = "command"
	// ScopeSession: those of one session share /tmp, and what one left running
	// goes on. It is a weaker mode.
	ScopeSession Scope = "session"
)

// Session bounds what commands of one session share.
type Session struct {
	// Idle is how long a session lasts without a command, and MaxAge from its
	// first one on.
	Idle, MaxAge time.Duration
	Most         int // at once; each may hold as much as Tmp says
}

var sessionFields = table(func() []field[Session] {
	return []field[Session]{
		optional("idle", duration(time.Second, 24*time.Hour), 10*time.Minute, func(s *Session) *time.Duration { return &s.Idle },
			"How long a session lasts in which no command runs, whatever was left running in it."),
		optional("maxAge", duration(time.Second, 168*time.Hour), 8*time.Hour, func(s *Session) *time.Duration { return &s.MaxAge },
			"How long a session lasts from its first command on; what runs then is ended."),
		optional("most", integer(1, 256), 8, func(s *Session) *int { return &s.Most },
			"How many sessions there are at once, of all callers; each may hold as much memory as tmp says."),
	}
})

// sessionsAreMadeWhenTheyAreNeeded refuses what would have no effect, or could
// not be kept.
func sessionsAreMadeWhenTheyAreNeeded(p *Policy, report func(string, *fault)) {
	if p.Scope != ScopeSession {
		return
	}
	if p.Pool.Warm > 0 {
		report("pool.warm", faultf("leave pool out", "a sandbox made ahead has a /tmp of its own, and none of a session's"))
	}
	if p.Engine == EngineDocker {
		report("scope", faultf("choose the oci engine, or 'scope: command'", "a Docker daemon keeps no /tmp from one container to the next"))
	}
	if p.Session.MaxAge > 0 && p.Session.Idle > p.Session.MaxAge {
		report("session.idle", faultf("let it be no more than maxAge", "a session ends by its age before it could be idle for so long"))
	}
}

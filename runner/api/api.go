// Package api holds the wire types between creel and creeld, the socket
// paths and the version. It imports only the standard library (and not
// package net, which would cost creel cgo and start-up time), holds no logic
// beyond framing, and never decides who may do what.
//
// Every connection carries one request and its replies. A message is a
// 4-byte big-endian length and that many bytes of JSON; descriptors ride as
// SCM_RIGHTS (unix(7)) on the first byte of the request.
//
//	client                                   supervisor
//	  ── Request{route, body} (+ 3 pipes) ────►   with {token} on the token socket
//	  ◄── Event{started} … ──────────────────
//	  ── Control{signal | resize} ───────────►   any number, exec and canary only
//	  ◄── Event{exited} or Event{error} ─────    the last message
//
// The other routes answer Event{reply}, and logs any number of Event{log}
// then Event{end}; each may answer Event{error} instead.
package api

// The names of the sockets inside the runtime directory.
const (
	ExecSocketName  = "exec.sock"
	AdminSocketName = "admin.sock"
	// TokenSocketName is that of the socket for callers with a token. It is
	// alone in its directory, which a container of such a caller can be given.
	TokenSocketName = "token/token.sock"
	DefaultDir      = "/run/creel"
)

// DefaultPolicy is the policy of an invocation that names none.
const DefaultPolicy = "exec-default"

// MaxMessage bounds one message in bytes: an argv and environment as large
// as execve(2) takes (ARG_MAX, 2 MiB with the usual stack) in base64.
const MaxMessage = 4 << 20

// MaxControl bounds one Control message in bytes.
const MaxControl = 1 << 10

// Version is set by the linker.
var Version = "dev"

// The routes. Exec, Version and the policies a caller may run are served on
// the exec socket; these and, of a caller's own sandboxes, Ps and Kill on the
// token socket; all of them on the admin socket.
const (
	RouteExec    = "exec"
	RoutePs      = "ps"
	RouteKill    = "kill"
	RouteInspect = "inspect"
	RouteLogs    = "logs"
	RouteStats   = "stats"
	RouteDoctor  = "doctor"
	RouteVersion = "version"
	RoutePolicy  = "policy"
	RouteRevoke  = "revoke"
	RoutePlaces  = "places"
	RouteCanary  = "canary"
	RouteAgent   = "agent"
	RouteReload  = "reload"

	// Each is what comes after creel on a command line, as a denial says.
	RouteSecretSet    = "secret set"
	RouteSecretRotate = "secret rotate"
	RouteSecretRemove = "secret rm"
	RouteSecretList   = "secret ls"

	RouteTokenCreate = "token create"
	RouteTokenRotate = "token rotate"
	RouteTokenRevoke = "token revoke"
	RouteTokenList   = "token ls"

	RouteCheck = "policy check"
)

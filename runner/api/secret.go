package api

import "time"

// The bounds of a secret's value in bytes, without the one newline at its end
// that is not part of it.
const (
	MinSecret = 8
	MaxSecret = 64 << 10
)

// SecretRequest names a secret to set or rotate. Exactly one descriptor comes
// with it: the read end of a pipe that holds the value and is at its end, so
// that no message does.
type SecretRequest struct {
	Name string `json:"name"`
}

// SecretsRequest names secrets to remove.
type SecretsRequest struct {
	Names []string `json:"names"`
}

// SecretsReply tells of secrets, by name; never their values.
type SecretsReply struct {
	Secrets []Secret `json:"secrets"`
}

// The states of a secret.
const (
	SecretOK      = "ok"
	SecretOverdue = "overdue" // its value is older than creel allows for
	SecretMissing = "missing" // policies name it, and there is none
	SecretRemoved = "removed"
)

// Secret is what may be told of one.
type Secret struct {
	Name     string        `json:"name"`
	State    string        `json:"state"`
	Created  time.Time     `json:"created,omitzero"`
	Rotated  time.Time     `json:"rotated,omitzero"` // when it got the value it has
	Age      time.Duration `json:"ageNs,omitempty"`  // of that value
	Policies []string      `json:"policies"`         // in force, that name it
}

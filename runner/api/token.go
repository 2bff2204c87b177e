package api

import "time"

// TokenRequest asks for the token of an integration: a new one, or for
// RouteTokenRotate another. Exactly one descriptor comes with it: the write end
// of a pipe, into which the token is written, so that no message holds it.
// Whoever gets an error instead of a reply forgets what came.
type TokenRequest struct {
	Name string `json:"name"`
	// The lists are for a new token; another has the former one's.
	Policies []string      `json:"policies,omitempty"`
	Senders  []string      `json:"senders,omitempty"`
	Channels []string      `json:"channels,omitempty"`
	Life     time.Duration `json:"lifeNs,omitempty"` // zero: for another, as long as the former one's
	// To is the file that the token is to be kept in, if whoever asks knows: an
	// absolute path. One that a policy shows to its sandboxes is refused.
	To string `json:"to,omitempty"`
}

// TokensRequest names tokens to revoke.
type TokensRequest struct {
	Names []string `json:"names"`
}

// TokensReply tells of tokens, by name; never what they are.
type TokensReply struct {
	Tokens []Token `json:"tokens"`
}

// The states of a token.
const (
	TokenOK      = "ok"
	TokenExpired = "expired"
	TokenRevoked = "revoked"
)

// Token is what may be told of one.
type Token struct {
	Name     string   `json:"name"`
	State    string   `json:"state"`
	Policies []string `json:"policies"` // that it names
	// Refused are those among them that are not in force, or do not name it:
	// none of their commands is run for it.
	Refused  []string  `json:"refused,omitempty"`
	Senders  []string  `json:"senders,omitempty"`
	Channels []string  `json:"channels,omitempty"`
	Created  time.Time `json:"created"` // when the integration got its first
	Made     time.Time `json:"made"`    // when the one in force was
	Expires  time.Time `json:"expires"`
	Used     time.Time `json:"used,omitzero"` // last; zero: never
}

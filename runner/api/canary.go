package api

// CanaryRequest asks for one invocation in which a canary, a value that is no
// secret and that somebody will search for, takes the place of each credential
// of the policy. The providers are not asked. It comes with the descriptors of
// an ExecRequest and is answered as one.
type CanaryRequest struct {
	ExecRequest
	// Canary is what all the values have in common: CanaryLength characters of
	// base32 (RFC 4648), so that it is the same in base64, in a URL, in JSON
	// and to a shell, and never a credential of anything.
	Canary string `json:"canary"`
}

// CanaryLength is the length of a canary in characters: 260 bits.
const CanaryLength = 52

// PlacesRequest names a policy.
type PlacesRequest struct {
	Policy string `json:"policy"`
}

// PlacesReply says where a run of a policy could leave something, for whoever
// is to search there.
type PlacesReply struct {
	Pid         int      `json:"pid"`         // of the supervisor, on the host
	Engine      string   `json:"engine"`      // oci or docker
	Variables   []string `json:"variables"`   // that credentials are delivered in
	Directories []string `json:"directories"` // that the supervisor keeps its files in
	Mounts      []string `json:"mounts"`      // of the host that a command can write to
}

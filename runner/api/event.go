package api

import "encoding/json"

// Request is the first message of a connection.
type Request struct {
	Route string          `json:"route"`
	Body  json.RawMessage `json:"body,omitempty"` // of the route's own type
	// Token says who asks, on the token socket and on no other: nothing else
	// does there. Bytes, so that whoever has compared it can wipe it.
	Token []byte `json:"token,omitempty"`
}

// The types of Event.
const (
	EventStarted = "started" // the command runs; ID is set
	EventExited  = "exited"  // last; Result is set
	EventError   = "error"   // last; Error is set
	EventReply   = "reply"   // last; Reply is set
	EventLog     = "log"     // Log is set
	EventEnd     = "end"     // last
)

// Event is what a supervisor answers with; one field besides Type is set.
type Event struct {
	Type   string          `json:"type"`
	ID     string          `json:"id,omitempty"`
	Result *Result         `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
	Log    *LogChunk       `json:"log,omitempty"`
	Reply  json.RawMessage `json:"reply,omitempty"` // of the route's own type
}

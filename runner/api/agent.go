package api

import "time"

// The orders that an operator can give for an agent.
const (
	AgentStart   = "start"
	AgentStop    = "stop"
	AgentRestart = "restart"
)

// The states of an agent.
const (
	AgentStarting  = "starting"    // or waiting to be ready
	AgentRunning   = "running"     // and not asked whether it is ready
	AgentReady     = "ready"       // its last answer was good
	AgentUnhealthy = "unhealthy"   // its last answer was not, or did not come
	AgentStopping  = "stopping"    // it was asked to end
	AgentBackOff   = "backing off" // it has ended, or could not be started, and will be
	AgentDown      = "down"        // it has ended too often
	AgentStopped   = "stopped"     // by an operator
)

// AgentRequest gives an order for agents, by the names of their policies.
type AgentRequest struct {
	Order string   `json:"order"`
	Names []string `json:"names"`
}

// AgentReply says what there is of those agents when the order is given, not
// when it is done.
type AgentReply struct {
	Agents []Agent `json:"agents"`
}

// Agent is one agent that is declared, whether there is a sandbox of it or not.
type Agent struct {
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Sandbox string    `json:"sandbox,omitempty"` // the ID of the one there is
	// Problem is how it last ended, why it could not be started, or what is wrong
	// with its answers.
	Problem string `json:"problem,omitempty"`
	// Restarts counts how often it was started again since creeld was.
	Restarts int    `json:"restarts"`
	Publish  string `json:"publish,omitempty"`
}

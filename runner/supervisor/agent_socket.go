package supervisor

import (
	"fmt"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// execSocket is that on which an agent runs commands, where its policy mounts
// one: from its first start until it is not declared any more.
type execSocket struct {
	of     *agent
	path   string
	who    rootfs.Identity
	socket AgentSocket
}

// open makes the socket of a policy, unless there is the same already.
func (e *execSocket) open(s *Supervisor, p *policy.Policy, who rootfs.Identity) error {
	path := ""
	for _, m := range p.Mounts {
		if m.Kind == policy.MountExec {
			path = m.Source
		}
	}
	if e.path == path && e.who == who && (e.socket != nil || path == "") {
		return nil
	}
	e.close()
	e.path, e.who = path, who
	if path == "" {
		return nil
	}
	socket, err := s.cfg.Listen(path, who, e.of.isOwn)
	if err != nil {
		return fmt.Errorf("make socket of agent %s: %w", p.Name, err)
	}
	e.socket = socket
	return nil
}

// hangUp closes the connections that an agent has made: it may have handed them
// to somebody who lives on, and commands with them.
func (e *execSocket) hangUp() {
	if e.socket != nil {
		e.socket.HangUp()
	}
}

func (e *execSocket) close() {
	if e.socket != nil {
		e.socket.Close()
	}
	e.socket, e.path = nil, ""
}

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/supervisor"
)

// agentSockets is the directory of the sockets on which agents run commands.
// Root alone can enter it: an agent finds its own, and no other, where its
// policy mounts it.
func agentSockets(cfg *policy.Config) string { return filepath.Join(cfg.RuntimeDir, "agents") }

// prepareAgentSockets makes the directory, without what a killed supervisor
// left in it.
func (d *daemon) prepareAgentSockets(cfg *policy.Config) error {
	dir := agentSockets(cfg)
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return fmt.Errorf("make directory of agents' sockets: %w", err)
	}
	d.onClose(func() error { return os.Remove(dir) })
	return nil
}

// placeExecSockets has every mount of kind exec show the socket of its agent.
func placeExecSockets(set *policy.Set, cfg *policy.Config) {
	set.PlaceExecSockets(func(agent string) string { return filepath.Join(agentSockets(cfg), agent+".sock") })
}

// agentSocket is one that is served.
type agentSocket struct {
	net.Listener
	server *server.Server
}

// HangUp implements supervisor.AgentSocket.
func (s agentSocket) HangUp() { s.server.HangUp(s.Listener) }

// listenForAgent makes the socket of one agent, for its user alone, and serves
// it until it is closed. Who it is the kernel says for each connection, as on
// the socket for commands, and nothing but that is served on it.
func (d *daemon) listenForAgent(path string, who rootfs.Identity, own func(sandbox string) bool) (supervisor.AgentSocket, error) {
	listener, err := listen(path, 0, ownerOnly)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(path, int(who.UID), int(who.GID)); err != nil {
		listener.Close()
		return nil, fmt.Errorf("give %s to the agent's user: %w", path, err)
	}
	go func() {
		if err := d.server.ServeExec(listener, own); err != nil {
			d.log.WithField("socket", path).WithError(err).Error("the socket of an agent is not served any more")
		}
	}()
	return agentSocket{listener, d.server}, nil
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/network"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// maxPublished bounds the connections that are open at once to an agent from
// the host: more than those of the sandboxes of many commands.
const maxPublished = 1024

// frontage is what an agent has on the host, from its first start until it is not
// declared any more: the port that it is published at, and the socket on which
// it runs commands.
type frontage struct {
	of     *agent
	at     netip.AddrPort
	relay  *network.Relay
	path   string
	who    rootfs.Identity
	socket AgentSocket
	inside atomic.Pointer[network.Inside] // where the port leads to now
}

var _ network.Connector = (*frontage)(nil)

// Connect implements network.Connector.
func (f *frontage) Connect(ctx context.Context, client *net.TCPConn) (*net.TCPConn, error) {
	inside := f.inside.Load()
	if inside == nil {
		return nil, errors.New("the agent does not run")
	}
	return inside.Connect(ctx, client)
}

// open makes what is missing of them.
func (f *frontage) open(s *Supervisor, p *policy.Policy, who rootfs.Identity) error {
	if err := f.listen(s, p, who); err != nil {
		return fmt.Errorf("make socket of agent %s: %w", p.Name, err)
	}
	if f.at == p.Agent.Publish && (f.relay != nil || !f.at.IsValid()) {
		return nil
	}
	f.closePort()
	f.at = p.Agent.Publish
	if !f.at.IsValid() {
		return nil
	}
	relay, err := network.Publish(f.at, maxPublished, f)
	if err != nil {
		return &api.Error{Code: "publish", ExitCode: api.ExitFailed, Message: fmt.Sprintf("agent %s: %v", p.Name, err),
			Hint: "find who has the port with ss -ltnp, or choose another in 'publish'"}
	}
	f.relay = relay
	go func() {
		if err := relay.Serve(context.Background()); err != nil && !errors.Is(err, network.ErrClosed) {
			s.cfg.Log.WithField("agent", p.Name).WithError(err).Error("the published port is not served any more")
		}
	}()
	return nil
}

// listen makes the socket of a policy that mounts one.
func (f *frontage) listen(s *Supervisor, p *policy.Policy, who rootfs.Identity) error {
	path := ""
	for _, m := range p.Mounts {
		if m.Kind == policy.MountExec {
			path = m.Source
		}
	}
	if f.path == path && f.who == who && (f.socket != nil || path == "") {
		return nil
	}
	f.closeSocket()
	f.path, f.who = path, who
	if path == "" {
		return nil
	}
	socket, err := s.cfg.Listen(path, who, f.of.isOwn)
	if err != nil {
		return err
	}
	f.socket = socket
	return nil
}

// leadTo has the port lead to a sandbox, or nowhere. Connections to the former
// one are reset: each would keep its network namespace. Those that it made are
// closed: it may have handed them to somebody who lives on, and commands with them.
func (f *frontage) leadTo(inv *invocation) {
	if inv != nil {
		f.inside.Store(&network.Inside{Process: inv.sandbox.Pidfd, Port: inv.policy.Agent.Publish.Port()})
		return
	}
	f.inside.Store(nil)
	if f.relay != nil {
		f.relay.HangUp()
	}
	if f.socket != nil {
		f.socket.HangUp()
	}
}

func (f *frontage) close() {
	f.closePort()
	f.closeSocket()
}

func (f *frontage) closePort() {
	if f.relay != nil {
		f.relay.Close()
	}
	f.relay, f.at = nil, netip.AddrPort{}
}

func (f *frontage) closeSocket() {
	if f.socket != nil {
		f.socket.Close()
	}
	f.socket, f.path = nil, ""
}

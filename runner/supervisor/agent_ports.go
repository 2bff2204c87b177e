package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/network"
)

// maxPublished bounds the connections that are open at once to an agent from
// the host: more than those of the sandboxes of many commands.
const maxPublished = 1024

// portRetry is how long it is between two tries to get a port that is somebody
// else's.
const portRetry = time.Second

// ports are those that agents are published at, each for as long as an agent is
// declared there and not only while one lives, or could: see network.Publish.
// Which agent that is may change without the port's being free in between.
type ports struct {
	mu  sync.Mutex
	all map[netip.AddrPort]*port
}

// port is one of them. Its goroutine listens there until it is closed.
type port struct {
	at     netip.AddrPort
	inside atomic.Pointer[network.Inside] // where it leads to now
	log    *logrus.Logger
	ctx    context.Context // ends when it is closed
	cancel context.CancelFunc
	done   chan struct{}

	// Under the lock of all ports.
	agent string      // who is declared here; empty: nobody is any more, and life has not ended
	life  *invocation // that it leads to; nil: none

	mu      sync.Mutex
	relay   *network.Relay
	problem error // why there is no relay
}

var _ network.Connector = (*port)(nil)

// publishAgents has the ports that are declared be creeld's, before what
// declares them is in force, and gives up the others.
func (s *Supervisor) publishAgents(declared *Declared) {
	g := &s.agents
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.begun || g.closed {
		return
	}
	at := map[netip.AddrPort]string{}
	for name, p := range declared.Policies.All() {
		if p.Kind == policy.KindAgent && p.Agent.Publish.IsValid() {
			at[p.Agent.Publish] = name
		}
	}
	g.ports.declare(at, s.cfg.Log)
}

// declare takes over which agents are declared where. A port that nobody is
// declared at any more serves the life that it leads to, which is being ended,
// until it has; one that is another agent's from now on does not.
func (p *ports) declare(at map[netip.AddrPort]string, log *logrus.Logger) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, one := range p.all {
		one.agent = at[address]
		switch {
		case one.agent == "" && one.life == nil:
			p.drop(one)
		case one.agent != "" && one.life != nil && one.life.agent.name != one.agent:
			one.leadTo(nil)
		}
	}
	for address, agent := range at {
		if p.all[address] != nil {
			continue
		}
		if p.all == nil {
			p.all = map[netip.AddrPort]*port{}
		}
		one := &port{at: address, agent: agent, log: log, done: make(chan struct{})}
		one.ctx, one.cancel = context.WithCancel(context.Background())
		p.all[address] = one
		one.bind() // now: what declares it is in force next
		go one.keep()
	}
}

// drop needs the lock.
func (p *ports) drop(one *port) {
	delete(p.all, one.at)
	one.close()
}

// lead has the port that an agent's life is declared at lead to it, if it still
// is.
func (p *ports) lead(inv *invocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.all[inv.policy.Agent.Publish]; one != nil && one.agent == inv.agent.name {
		one.leadTo(inv)
	}
}

// leave has no port lead to a life any more.
func (p *ports) leave(inv *invocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.all[inv.policy.Agent.Publish]
	if one == nil || one.life != inv {
		return
	}
	one.leadTo(nil)
	if one.agent == "" {
		p.drop(one)
	}
}

// look gives which agent is declared at an address, whether its life is reached
// there, and why the port is not creeld's, if it is not.
func (p *ports) look(at netip.AddrPort) (agent string, leads bool, problem error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.all[at]
	if one == nil {
		return "", false, nil
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.agent, one.life != nil, one.problem
}

// leadTo has the port lead to a life, or nowhere. Connections to the former one
// are reset: each would keep its network namespace.
func (p *port) leadTo(inv *invocation) {
	p.life = inv
	if inv != nil {
		p.inside.Store(&network.Inside{Process: inv.sandbox.Pidfd, Port: p.at.Port()})
		return
	}
	p.inside.Store(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.relay != nil {
		p.relay.HangUp()
	}
}

// Connect implements network.Connector.
func (p *port) Connect(ctx context.Context, client *net.TCPConn) (*net.TCPConn, error) {
	inside := p.inside.Load()
	if inside == nil {
		return nil, errors.New("the agent does not run")
	}
	return inside.Connect(ctx, client)
}

// keep serves the port until it is closed. One that was lost is listened at
// again before anything else, and served after a while: what ended it once may
// do so at once again.
func (p *port) keep() {
	defer close(p.done)
	for {
		if relay := p.bind(); relay != nil {
			err := relay.Serve(p.ctx)
			if p.ctx.Err() != nil {
				return
			}
			p.unbind()
			p.log.WithField("publish", p.at.String()).WithError(err).Error("the published port was lost")
			p.bind()
		}
		select {
		case <-p.ctx.Done():
			return
		case <-time.After(portRetry):
		}
	}
}

// bind listens, unless the port does or is closed, and gives the relay; nil: it
// could not.
func (p *port) bind() *network.Relay {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.relay != nil || p.ctx.Err() != nil {
		return p.relay
	}
	relay, err := network.Publish(p.at, maxPublished, p)
	if log := p.log.WithField("publish", p.at.String()); err != nil && p.problem == nil {
		log.WithError(err).Error("the port of an agent is not to be had, and is tried for again")
	} else if err == nil && p.problem != nil {
		log.Info("the port of an agent was got after all")
	}
	p.relay, p.problem = relay, err
	return relay
}

func (p *port) unbind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.relay = nil
}

// close gives the port up and returns when nobody is served there any more.
func (p *port) close() {
	p.mu.Lock()
	p.cancel()
	relay := p.relay
	p.mu.Unlock()
	if relay != nil {
		relay.Close()
	}
	<-p.done
}

// published refuses a life of an agent whose port is somebody else's, who would
// be told what is meant for it.
func (g *agents) published(p *policy.Policy) error {
	_, _, problem := g.ports.look(p.Agent.Publish)
	if problem == nil {
		return nil
	}
	return &api.Error{Code: "publish", ExitCode: api.ExitFailed, Message: fmt.Sprintf("agent %s: %v", p.Name, problem),
		Hint: "find who has the port with ss -ltnp, or choose another in 'publish'"}
}

// reachable says whether a policy's commands find an agent at an address, which
// takes connections while there is no agent too. is is false where none is
// declared.
func (g *agents) reachable(at netip.AddrPort, by string) (is bool, err error) {
	name, leads, problem := g.ports.look(at)
	if name == "" || leads && problem == nil {
		return name != "", nil
	}
	how, a := api.AgentStarting, g.get(name)
	if a != nil {
		how = a.shown()
	}
	if problem != nil {
		how += ": " + problem.Error()
	}
	return true, &api.Error{Code: "no-gateway", ExitCode: api.ExitFailed,
		Message: fmt.Sprintf("gateway of policy %s: it is agent %s, which is %s", by, name, how),
		Hint:    "creel ps tells why; creel agent start " + name + " starts one that was stopped or stays down"}
}

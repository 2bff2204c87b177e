package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/network"
	"github.com/creel-sandbox/creel/runner/network/egress"
)

// doors are the addresses that a sandbox listens at for the supervisor: the
// gateway's and the proxy's, where the policy has them, in this order.
func doors(n *policy.Network) (at []netip.AddrPort) {
	if n != nil && n.Gateway.IsValid() {
		at = append(at, n.Gateway)
	}
	if n != nil && len(n.Egress) > 0 {
		at = append(at, n.Proxy)
	}
	return at
}

// reachGateway refuses a command whose gateway nobody serves, as it would be
// refused for a workspace that is not there.
func (s *Supervisor) reachGateway(ctx context.Context, inv *invocation) error {
	if inv.policy.Network == nil || !inv.policy.Network.Gateway.IsValid() {
		return nil
	}
	if is, err := s.agents.reachable(inv.policy.Network.Gateway, inv.policy.Name); is {
		return err
	}
	if err := network.Probe(ctx, inv.policy.Network.Gateway); err != nil {
		return &api.Error{Code: "no-gateway", Message: "gateway of policy " + inv.policy.Name + ": " + err.Error(), ExitCode: api.ExitFailed,
			Hint: "start what should listen there, or correct 'network.gateway' in the policy; a policy without it needs none"}
	}
	return nil
}

// serveNetwork relays from the sandbox's doors to what is behind them.
func (s *Supervisor) serveNetwork(_ context.Context, inv *invocation) error {
	for i, at := range doors(inv.policy.Network) {
		connector, err := s.behind(inv, at)
		if err == nil {
			err = s.relay(inv, i, at, connector)
		}
		if err != nil {
			return errors.Join(err, s.stopNetwork(inv)) // a step that fails leaves nothing
		}
	}
	return nil
}

// behind is what a door of the sandbox leads to.
func (s *Supervisor) behind(inv *invocation, at netip.AddrPort) (network.Connector, error) {
	if at == inv.policy.Network.Gateway {
		return network.Gateway(at), nil
	}
	return newProxy(inv.policy, s.egressLog(inv))
}

func (s *Supervisor) relay(inv *invocation, door int, at netip.AddrPort, connector network.Connector) error {
	relay, err := network.New(inv.listeners[door], at, inv.policy.Network.MaxConnections, connector)
	if err != nil {
		return err
	}
	inv.relays = append(inv.relays, relay)
	go func() {
		if err := relay.Serve(context.Background()); err != nil && !errors.Is(err, network.ErrClosed) {
			s.cfg.Log.WithField("sandbox", inv.id).WithError(err).Warn("relay at " + at.String() + " ended")
		}
	}()
	return nil
}

func (s *Supervisor) stopNetwork(inv *invocation) error {
	for _, relay := range inv.relays {
		relay.Close()
	}
	return nil
}

func newProxy(p *policy.Policy, told func(*egress.Refusal)) (*egress.Proxy, error) {
	var destinations []egress.Destination
	for _, d := range p.Network.Egress {
		destinations = append(destinations, egress.Destination(d))
	}
	proxy, err := egress.New(destinations, told)
	if err != nil {
		return nil, fmt.Errorf("policy %s: network.egress: %w", p.Name, err)
	}
	return proxy, nil
}

// CheckEgress finds what only the proxy can tell of the services that policies
// name, so that it is found when it is declared: names whose letters are in no
// form that a resolver would take.
func CheckEgress(set *policy.Set) error {
	for _, p := range set.All() {
		if p.Network != nil {
			if _, err := newProxy(p, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// egressLog logs the refusals of one sandbox, within bounds.
func (s *Supervisor) egressLog(inv *invocation) func(*egress.Refusal) {
	log := s.cfg.Log.WithFields(logrus.Fields{"sandbox": inv.id, "policy": inv.policy.Name})
	refusals := newEgressRefusals()
	return func(r *egress.Refusal) {
		if others, ok := refusals.note(time.Now()); ok {
			log.WithFields(logrus.Fields{"asked": r.Asked, "rule": r.Rule}).Warn("egress refused: " + r.Reason + others)
		}
	}
}

// proxyEnv tells the command's programs where the proxy is, in the variables
// that curl(1), git, npm, pip and others read. What is not TLS is refused with
// a word, rather than lost in a network that is not there. The last two are
// what must not go to the proxy: the gateway.
func proxyEnv(n *policy.Network) (env [][]byte) {
	if n == nil || len(n.Egress) == 0 {
		return nil
	}
	at := n.Proxy.String()
	for _, v := range []string{
		"HTTPS_PROXY=http://" + at, "https_proxy=http://" + at, "http_proxy=http://" + at,
		"ALL_PROXY=socks5h://" + at, "all_proxy=socks5h://" + at,
		"NO_PROXY=127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost",
	} {
		env = append(env, []byte(v))
	}
	return env
}

package supervisor

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// agents are all that are declared, each with a goroutine that keeps it up.
type agents struct {
	mu      sync.Mutex
	byName  map[string]*agent
	begun   bool
	closed  bool
	keepers sync.WaitGroup
	ports   ports
}

var _ server.AgentKeeper = (*Supervisor)(nil)

// BeginAgents starts the agents that are declared, and those that will be. It
// waits for none: what an agent needs may be there later, such as the sockets
// that are served next.
func (s *Supervisor) BeginAgents() {
	s.agents.mu.Lock()
	s.agents.begun = true
	s.agents.mu.Unlock()
	s.publishAgents(s.declared.Load())
	s.declareAgents()
}

// declareAgents brings the agents in line with the policies in force. One whose
// policy is another is started anew, and one without a policy ended.
func (s *Supervisor) declareAgents() {
	declared := s.declared.Load()
	g := &s.agents
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.begun || g.closed {
		return
	}
	for name, a := range g.byName {
		if p, ok := declared.Policies.Get(name); !ok || p.Kind != policy.KindAgent {
			a.change(func(w *wish) { w.gone = true })
		}
	}
	for name, p := range declared.Policies.All() {
		if p.Kind != policy.KindAgent {
			continue
		}
		if a := g.byName[name]; a != nil {
			a.redeclare(declared, p)
			continue
		}
		a := newAgent(declared, p)
		if g.byName == nil {
			g.byName = map[string]*agent{}
		}
		g.byName[name] = a
		g.keepers.Add(1)
		go s.keepAgent(a)
	}
}

// endAgents ends them in the order that their policies say, all at once, and
// returns when nothing of them is left.
func (s *Supervisor) endAgents() {
	g := &s.agents
	g.mu.Lock()
	g.closed = true
	for _, a := range g.byName {
		a.change(func(w *wish) { w.gone = true })
	}
	g.mu.Unlock()
	g.keepers.Wait()
	g.ports.declare(nil, s.cfg.Log)
}

// retire forgets an agent that is not declared any more, unless it is again.
func (g *agents) retire(a *agent) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.wanted().gone {
		return false
	}
	delete(g.byName, a.name)
	return true
}

func (g *agents) all() []*agent {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.SortedFunc(maps.Values(g.byName), func(a, b *agent) int { return strings.Compare(a.name, b.name) })
}

func (g *agents) get(name string) *agent {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byName[name]
}

// lifeOf gives the sandbox that an agent has now, or nil.
func (g *agents) lifeOf(name string) *invocation {
	if a := g.get(name); a != nil {
		return a.life()
	}
	return nil
}

func (g *agents) rows() []api.Agent {
	var rows []api.Agent
	for _, a := range g.all() {
		row := a.describe()
		if _, _, problem := g.ports.look(a.wanted().policy.Agent.Publish); problem != nil && row.Problem == "" {
			row.Problem = problem.Error()
		}
		rows = append(rows, row)
	}
	return rows
}

// OrderAgents implements server.AgentKeeper.
func (s *Supervisor) OrderAgents(_ context.Context, req *api.AgentRequest) (*api.AgentReply, error) {
	var meant []*agent
	for _, name := range req.Names {
		a := s.agents.get(name)
		if a == nil {
			return nil, &api.Error{Code: "not-found", Message: fmt.Sprintf("there is no agent %.100q", name), ExitCode: 1,
				Hint: "creel ps lists those of the policies in force"}
		}
		meant = append(meant, a)
	}
	reply := &api.AgentReply{Agents: []api.Agent{}}
	for _, a := range meant {
		s.cfg.Log.WithField("agent", a.name).Infof("an operator gave the order to %s it", req.Order)
		a.change(func(w *wish) { orders[req.Order](w, a.inv != nil) })
		reply.Agents = append(reply.Agents, a.describe())
	}
	return reply, nil
}

// orders are what an operator's words change of what is wished for, where the
// agent lives and where it does not: one that waits to be started again is
// started now, one that lives has been, and one that is being stopped is started
// when it has ended.
var orders = map[string]func(w *wish, lives bool){
	api.AgentStop: func(w *wish, _ bool) { w.up, w.rest = false, api.AgentStopped },
	api.AgentStart: func(w *wish, lives bool) {
		if !lives || !w.up {
			w.turn++
		}
		w.up = true
	},
	api.AgentRestart: func(w *wish, _ bool) { w.up, w.turn = true, w.turn+1 },
}

// redeclare takes over another reading of an agent's policy. One that stays
// down gets another chance only by another policy.
func (a *agent) redeclare(declared *Declared, p *policy.Policy) {
	a.change(func(w *wish) {
		same := sameAgent(w.declared, w.policy, declared, p)
		w.declared, w.policy, w.gone = declared, p, false
		if !same {
			w.turn++
			w.up = w.up || w.rest == api.AgentDown
		}
	})
}

// sameAgent says whether an agent of one reading is one of the other: what is
// only for people to read may differ.
func sameAgent(of *Declared, a *policy.Policy, other *Declared, b *policy.Policy) bool {
	bare := func(p *policy.Policy) policy.Policy {
		bare := *p
		bare.Justification, bare.Owner, bare.ReviewBy = "", "", time.Time{}
		return bare
	}
	return reflect.DeepEqual(bare(a), bare(b)) && bytes.Equal(of.Filters[a.Name], other.Filters[b.Name])
}

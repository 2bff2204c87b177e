package supervisor

import (
	"sync"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
)

// agent is one agent and what is known of it. A goroutine of its own brings
// about what is wished for; everybody else changes the wish.
//
//	   ┌───────────── somebody or something wants it anew ─────────────┐
//	   ▼                                                              │
//	starting ─► ready ◄─► unhealthy ─► stopping ─► ended ─► backing off┤
//	   │    or running   too often ▲                 │                │
//	   └──── not ready in time ────┘      too often  ▼     an operator │
//	                                               down ───────────────┘
//
// However it ends, nothing of the former sandbox is left when the next is made.
type agent struct {
	name    string
	changed chan struct{} // has room for one: the wish is another

	mu      sync.Mutex
	wish    wish
	state   string
	since   time.Time
	problem string
	lives   int         // those that were begun
	inv     *invocation // its sandbox; nil between two lives
	last    *invocation // the last that ended after it was started, for its log
	of      wish        // what inv was made for
	marks   marks       // of the credentials that inv was started with
}

// wish is what an agent is to be. A life of it ends when another is wished for.
type wish struct {
	// declared and policy are one reading, of which a life is made as a whole:
	// what is in force when it begins may be another already, in which the
	// agent's name means something else, or nothing.
	declared *Declared
	policy   *policy.Policy
	up       bool
	rest     string // the state to be in while it is not up
	turn     int    // each time that it is wanted anew is another
	gone     bool   // it is not declared any more, or creeld ends
}

// is says whether two wishes are for the same life. What one was read from may
// be another reading of the same.
func (w wish) is(other wish) bool {
	other.declared, other.policy = w.declared, w.policy
	return w == other
}

func newAgent(declared *Declared, p *policy.Policy) *agent {
	return &agent{
		name: p.Name, changed: make(chan struct{}, 1),
		wish: wish{declared: declared, policy: p, up: true}, state: api.AgentStarting, since: time.Now(),
	}
}

func (a *agent) wanted() wish {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.wish
}

// change changes the wish, under the agent's lock. A sandbox that is only being
// made for the former one is given up at once.
func (a *agent) change(f func(*wish)) {
	a.mu.Lock()
	before := a.wish
	f(&a.wish)
	same, inv := a.wish.is(before), a.inv
	a.mu.Unlock()
	if same {
		return
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
	if inv != nil && inv.inState(stateCreating) {
		inv.stop(api.ReasonOrdered)
	}
}

// await waits until something else is wished for, or for a time; zero means
// for as long as it takes.
func (a *agent) await(want wish, atMost time.Duration) {
	var over <-chan time.Time
	if atMost > 0 {
		timer := time.NewTimer(atMost)
		defer timer.Stop()
		over = timer.C
	}
	for a.wanted().is(want) {
		select {
		case <-a.changed:
		case <-over:
			return
		}
	}
}

// show has ps tell of another state.
func (a *agent) show(state, problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != state {
		a.state, a.since = state, time.Now()
	}
	a.problem = problem
}

func (a *agent) shown() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

func (a *agent) life() *invocation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inv
}

// isOwn says whether a sandbox is the one that the agent lives in.
func (a *agent) isOwn(sandbox string) bool {
	inv := a.life()
	return inv != nil && inv.id == sandbox
}

// begin gives the agent a sandbox. It reports whether that is still for what is
// wished.
func (a *agent) begin(inv *invocation, want wish) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inv, a.of = inv, want
	a.lives++
	return a.wish.is(want)
}

// end takes the sandbox away. What is shown changes with it: an agent without
// one is in no other state, however soon the next begins.
func (a *agent) end(problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last == nil || !a.inv.launched.IsZero() { // of one that was not started there is nothing to read
		a.last = a.inv
	}
	a.inv, a.marks = nil, nil
	a.state, a.since, a.problem = api.AgentBackOff, time.Now(), problem
}

// describe is the agent as ps shows it.
func (a *agent) describe() api.Agent {
	a.mu.Lock()
	defer a.mu.Unlock()
	row := api.Agent{Name: a.name, State: a.state, Since: a.since, Problem: a.problem, Restarts: max(0, a.lives-1)}
	if a.inv != nil {
		row.Sandbox = a.inv.id
	}
	if at := a.wish.policy.Agent.Publish; at.IsValid() {
		row.Publish = at.String()
	}
	return row
}

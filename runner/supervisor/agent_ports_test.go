package supervisor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// freePort is an address at which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}

// taken says whether nobody else can listen at an address.
func taken(t *testing.T, at string) bool {
	t.Helper()
	l, err := net.Listen("tcp4", at)
	if err == nil {
		l.Close()
		return false
	}
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Fatal(err)
	}
	return true
}

// The port is creeld's from when an agent is declared at it until none is,
// whatever keeps the agent from being started.
func TestPortIsCreeldsForAsLongAsAnAgentIsDeclaredThere(t *testing.T) {
	for name, c := range map[string]struct {
		more  string
		order string
		state string
	}{
		"it runs":           {"", "", api.AgentRunning},
		"it is stopped":     {"", api.AgentStop, api.AgentStopped},
		"its user is gone":  {"user: no-such-user-of-this-host", "", api.AgentBackOff},
		"its engine is not": {"engine: docker\nuserNamespace: off", "", api.AgentBackOff},
		"its review is due": {"reviewBy: 2001-01-01", "", api.AgentBackOff},
		"its mount is not":  {"mounts: [{kind: workspace, source: /no/such/place, target: /workspace, mode: rw}]", "", api.AgentBackOff},
		"it is down":        {"env: {AWAY: \"1\"}\nrestart: {backoff: 10ms, limit: 1 in 10m}", "", api.AgentDown},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{})
			r.BeginAgents()
			at := freePort(t)
			files := helper(`[ "$AWAY" ] || exec sleep 1000`, "publish: "+at, c.more)
			r.load = func() (*Declared, error) {
				declared, err := r.declare(files)
				if err == nil {
					declared.Config.Strict = strings.Contains(c.more, "reviewBy")
				}
				return declared, err
			}
			check(t, r.Reload())
			if !taken(t, at) {
				t.Error("the port can be taken as soon as the agent is declared")
			}
			if c.order != "" {
				r.order(c.order)
			}
			if a := r.helperIs(c.state); !taken(t, at) {
				t.Errorf("the port can be taken while the agent is %+v", a)
			}
			r.reload(map[string]string{"exec-default": ""})
			r.eventually("control: it is free when no agent is declared there", func() bool { return !taken(t, at) })
		})
	}
}

// An agent that is declared at another port has that at once: while it is
// stopped, and while its life of before is still ending, which is reached at
// the former until it has.
func TestPortThatIsDeclaredAnewIsCreeldsAtOnce(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	first, second, third := freePort(t), freePort(t), freePort(t)
	agent := func(at string) map[string]string {
		return helper(`trap "while [ ! -e end ]; do sleep 0.02; done; exit 0" TERM; echo up >>ran; while :; do sleep 0.02; done`,
			"stop: {grace: 60s}", "publish: "+at)
	}
	r.reload(agent(first))
	r.eventually("it runs", func() bool { return len(r.written()) == 1 })
	r.reload(agent(second))
	if a := r.helperIs(api.AgentStopping); !taken(t, first) || !taken(t, second) {
		t.Errorf("of the ports the former is taken %v, the new %v, while it is %+v", taken(t, first), taken(t, second), a)
	}
	r.touch("end")
	r.eventually("it runs anew, and the former port is free", func() bool { return len(r.written()) == 2 && !taken(t, first) })
	r.order(api.AgentStop)
	r.helperIs(api.AgentStopped)
	r.reload(agent(third))
	if !taken(t, third) || taken(t, second) {
		t.Errorf("while it is stopped the new port is taken %v, the former %v", taken(t, third), taken(t, second))
	}
}

// Two agents that change places leave no port free for anybody in between, and
// none of them leads to the other's life.
func TestPortsOfAgentsThatChangePlacesAreNeverFree(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	one, other := freePort(t), freePort(t)
	place := func(one, other string) {
		files := helper(`trap "while [ ! -e end ]; do sleep 0.02; done; exit 0" TERM; while :; do sleep 0.02; done`, "stop: {grace: 60s}", "publish: "+one)
		files["second"] = strings.ReplaceAll(files["helper"], one, other)
		r.reload(files)
	}
	lives := func() (at [2]*invocation) {
		for i, name := range []string{"helper", "second"} {
			at[i] = r.agents.lifeOf(name)
			if at[i] == nil || !at[i].inState(stateRunning) {
				at[i] = nil
			}
		}
		return at
	}
	place(one, other)
	r.eventually("both run", func() bool { l := lives(); return l[0] != nil && l[1] != nil })
	before := lives()
	ctx, stop := context.WithCancel(t.Context())
	free := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			for _, at := range []string{one, other} {
				if l, err := net.Listen("tcp4", at); err == nil {
					l.Close()
					n++
				}
			}
		}
		free <- n
	}()
	place(other, one)
	for i, at := range []string{other, one} { // both lives of before go on
		name, leads, problem := r.agents.ports.look(netip.MustParseAddrPort(at))
		if name != []string{"helper", "second"}[i] || leads || problem != nil || !before[i].inState(stateRunning) {
			t.Errorf("%s is %s's, leads to a life %v, problem %v", at, name, leads, problem)
		}
	}
	r.touch("end")
	r.eventually("both run anew", func() bool { l := lives(); return l[0] != nil && l[1] != nil && l[0] != before[0] && l[1] != before[1] })
	stop()
	if n := <-free; n > 0 {
		t.Errorf("%d times a port could be taken", n)
	}
}

// A listener that fails is another before long: what the port is for does not
// end with it.
func TestPortThatIsLostIsTakenAgain(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	at := freePort(t)
	r.reload(helper("exec sleep 1000", "publish: "+at))
	r.helperIs(api.AgentRunning)
	check(t, unix.Shutdown(listenerAt(t, at), unix.SHUT_RD)) // accept(2) fails from now on
	r.eventually("it was lost", func() bool { return strings.Contains(r.log.String(), "the published port was lost") })
	r.eventually("it is creeld's again", func() bool { return taken(t, at) })
	r.eventually("and served", func() bool {
		conn, err := net.Dial("tcp4", at)
		if err != nil {
			return false
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1)) // nobody listens inside
		return err != nil
	})
}

// listenerAt is the descriptor of this process that listens at an address.
func listenerAt(t *testing.T, at string) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	want := netip.MustParseAddrPort(at)
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		check(t, err)
		name, err := unix.Getsockname(fd)
		in, ok := name.(*unix.SockaddrInet4)
		if err == nil && ok && in.Port == int(want.Port()) {
			if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens == 1 {
				return fd
			}
		}
	}
	t.Fatalf("nobody listens at %s", at)
	return -1
}

// A port that somebody has is told of, of an agent that is stopped too, whose
// commands are refused rather than led to a stranger; it is creeld's once it is free.
func TestPortOfAStrangerIsToldAndTakenWhenItIsFree(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	r.reload(helper("exec sleep 1000", "publish: "+freePort(t)))
	r.helperIs(api.AgentRunning)
	r.order(api.AgentStop)
	r.helperIs(api.AgentStopped)
	stranger, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	defer stranger.Close()
	at := stranger.Addr().String()
	files := helper("exec sleep 1000", "publish: "+at)
	files["exec-default"] = "network: {gateway: " + at + "}"
	r.reload(files)
	if a := r.helperIs(api.AgentStopped); !strings.Contains(a.Problem, "publish "+at) {
		t.Errorf("it is %+v", a)
	}
	command := func() error {
		c := r.start(shell("true"), "")
		<-c.done
		return c.err
	}
	if told := asAPI(t, command()); told.Code != "no-gateway" || !strings.Contains(told.Message, "it is agent helper") || !strings.Contains(told.Message, "in use") {
		t.Errorf("a command is told %+v", told)
	}
	stranger.Close()
	r.eventually("it is creeld's", func() bool { return taken(t, at) })
	r.order(api.AgentStart)
	r.helperIs(api.AgentRunning)
	r.eventually("control: a command runs", func() bool { return command() == nil })
	if left := r.helperIs(api.AgentRunning); left.Problem != "" {
		t.Errorf("it is %+v", left)
	}
}

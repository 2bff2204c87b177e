package agent

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// answers says whether something at an address answers a request for /healthz.
func answers(network, address string) bool {
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET /healthz HTTP/1.0\r\n\r\n"); err != nil {
		return false
	}
	answer := make([]byte, 12)
	n, _ := conn.Read(answer)
	return strings.HasPrefix(string(answer[:n]), "HTTP/1.0 200")
}

// listeners are the addresses of this network namespace at which somebody
// listens at a TCP port, as /proc/net/tcp writes them (proc(5)).
func listeners(t *testing.T, port string) (at []string) {
	t.Helper()
	n, err := strconv.Atoi(port)
	check(t, err)
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		check(t, err)
		for line := range strings.Lines(string(table)) {
			const listens = "0A"
			fields := strings.Fields(line)
			if address, ok := strings.CutSuffix(fields[1], fmt.Sprintf(":%04X", n)); ok && fields[3] == listens {
				at = append(at, address)
			}
		}
	}
	return at
}

// An agent is reached at the one address of the host that its policy names, and
// through nothing else that this host has.
func TestAgentIsReachedWhereItIsPublishedAndNowhereElse(t *testing.T) {
	onEachRuntime(t, options{}, func(t *testing.T, r *rig) {
		r.await("ready")
		_, port, _ := strings.Cut(r.at, ":")
		if !answers("tcp4", r.at) {
			t.Fatalf("control: nothing answers at %s\n%s", r.at, r.Log())
		}
		addresses, err := net.InterfaceAddrs()
		check(t, err)
		others := []string{"127.0.0.2", "::1", "::ffff:127.0.0.2"}
		for _, a := range addresses {
			if ip := a.(*net.IPNet).IP; !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
				others = append(others, ip.String())
			}
		}
		for _, other := range others {
			if answers("tcp", net.JoinHostPort(other, port)) {
				t.Errorf("it answers at %s", other)
			}
		}
		if all := listeners(t, port); len(all) != 1 || all[0] != "0100007F" {
			t.Errorf("who listens at its port does so at %q", all)
		}
		connect := "import socket; socket.create_connection(('127.0.0.1', " + port + "), 5)"
		if out, err := exec.Command("unshare", "-n", "sh", "-c", "ip link set lo up; exec python3 -c \"$0\"", connect).CombinedOutput(); err == nil || !strings.Contains(string(out), "refused") {
			t.Errorf("from another network namespace: %v, %s", err, out)
		}
		if got := r.Exec("python3", "-c", connect); got.Code != 1 || !strings.Contains(got.Stderr, "refused") {
			t.Errorf("from a sandbox without a gateway: %+v", got)
		}
		r.WritePolicy("exec-gateway", r.PolicyText("exec-gateway", "network: {gateway: "+r.at+"}"))
		r.Reload()
		if got := r.Creel("exec", "--policy", "exec-gateway", "--", "python3", "-c", connect); got.Code != 0 {
			t.Errorf("control: from a sandbox whose gateway it is: %+v", got)
		}
	})
}

// IPv6's loopback is one too, and then IPv4's is another address.
func TestAgentIsPublishedOnIPv6(t *testing.T) {
	r := start(t, options{Told: []string{"wait"}})
	_, port, _ := strings.Cut(r.at, ":")
	r.declare("publish: '[::1]:" + port + "'")
	r.Reload()
	r.untell("wait")
	r.await("ready")
	if !answers("tcp6", "[::1]:"+port) || answers("tcp4", r.at) {
		t.Errorf("answers on IPv6 %v, on IPv4 %v", answers("tcp6", "[::1]:"+port), answers("tcp4", r.at))
	}
}

// Whoever has the port already is not taken for the agent, and the agent is
// started once it is free.
func TestTakenPortIsNamedUntilItIsFree(t *testing.T) {
	r := start(t, options{})
	first := r.await("ready")
	r.at = freePort(t)
	other, err := net.Listen("tcp4", r.at)
	check(t, err)
	r.declare("")
	r.Reload()
	r.Eventually("it is told why", func() bool { return strings.Contains(r.agent().Problem, "publish "+r.at+": ") })
	if a := r.agent(); !strings.Contains(a.Problem, "address already in use") || len(r.List()) != 0 {
		t.Errorf("it is %+v, listed %+v", a, r.List())
	}
	other.Close()
	r.anew(first)
}

// Nor has anybody else the port of an agent that could not be started once.
func TestPortOfAnAgentThatCannotStartIsNobodyElses(t *testing.T) {
	r := start(t, options{Agent: "user: no-such-user-of-this-host"})
	if a := r.await("backing off"); !strings.Contains(a.Problem, "no-such-user") {
		t.Errorf("it is %+v", a)
	}
	if l, err := net.Listen("tcp4", r.at); err == nil {
		l.Close()
		t.Error("its port can be taken")
	}
	check(t, os.Remove(r.Policies+"/agent.yaml"))
	r.Reload()
	r.Eventually("control: it is free when no agent is declared there", func() bool {
		l, err := net.Listen("tcp4", r.at)
		if err == nil {
			l.Close()
		}
		return err == nil
	})
}

// While the agent is down its port is still creeld's, so that no user of the
// host can take it and be told what is meant for the agent; what connects is
// reset, and a command whose gateway it is refused.
func TestPortOfAnAgentThatIsDownIsNobodyElses(t *testing.T) {
	r := start(t, options{})
	r.WritePolicy("exec-gateway", r.PolicyText("exec-gateway", "network: {gateway: "+r.at+"}"))
	r.Reload()
	r.await("ready")
	if got := r.Creel("exec", "--policy", "exec-gateway", "--", "true"); got.Code != 0 {
		t.Fatalf("control: %+v", got)
	}
	open, err := net.Dial("tcp4", r.at)
	check(t, err)
	defer open.Close()
	r.Creel("agent", "stop", "agent")
	r.await("stopped")
	_ = open.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := open.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a connection of before: %v", err)
	}
	if l, err := net.Listen("tcp4", r.at); err == nil {
		l.Close()
		t.Error("its port can be taken")
	} else if !strings.Contains(err.Error(), unix.EADDRINUSE.Error()) {
		t.Error(err)
	}
	if answers("tcp4", r.at) {
		t.Error("something answers")
	}
	got := r.Creel("exec", "--policy", "exec-gateway", "--", "true")
	if got.Code != 125 || !strings.Contains(got.Stderr, "it is agent agent, which is stopped") || !strings.Contains(got.Stderr, "creel agent start agent") {
		t.Errorf("a command whose gateway it is: %+v", got)
	}
	r.StopSupervisor()
	l, err := net.Listen("tcp4", r.at)
	if err != nil {
		t.Fatalf("control: its port is taken when creeld is stopped: %v", err)
	}
	l.Close()
	r.StartSupervisor()
}

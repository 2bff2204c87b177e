package enginetest

import (
	"net"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestSandboxesCannotMeet(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		port := freePort(t)
		for _, policy := range []string{filtered, unfiltered} { // two of the same policy
			first := s.begin(t, policy, "/data/probe", "hold", canary, port)
			for name, got := range first.said {
				// The control: in its own sandbox all of it is found.
				if (strings.HasPrefix(name, "make ") || strings.HasPrefix(name, "find ")) && got != "ok" {
					t.Errorf("%s: %s by the one that made it: %q", policy, name, got)
				}
			}
			got := s.inside(policy, "look", canary, port)
			got.expect(t, policy, outcomes{
				"find shm": "ENOENT", "find sem": "ENOENT", "find msg": "ENOENT", "find file /tmp": "ENOENT", "find file /dev/shm": "ENOENT",
				"find abstract": "ECONNREFUSED", "find named": "ENOENT", "find tcp": "ECONNREFUSED", "find process": "file does not exist", "others": "0",
			})
			// And the host is one more that neither can meet.
			host := s.control(0, "look", canary, port)
			for _, name := range []string{"find shm", "find sem", "find msg", "find file /tmp", "find file /dev/shm", "find abstract", "find named", "find tcp"} {
				if host[name] == "ok" {
					t.Errorf("%s: %s succeeds on the host", policy, name)
				}
			}
			if host["find process"] != "ok" {
				t.Errorf("%s: the holder is not seen on the host, so that it is not seen inside proves nothing", policy)
			}
			if code := first.end(t); code != 0 {
				t.Errorf("%s: the one that holds: exit %d, %s", policy, code, first.stderr.String())
			}
		}
	})
}

// fillMessages puts descriptors into messages that nobody receives, until the
// kernel refuses: it counts them by user, over all sandboxes.
const fillMessages = `
import errno, socket, sys
kept, sent = [], 0
try:
    while sent < 1 << 18:
        a, b = socket.socketpair()
        kept.append((a, b))
        for _ in range(4):
            socket.send_fds(a, [b"x"], [0] * 250)
            sent += 250
    print('stopped by\t"nothing"')
except OSError as e:
    print(f'stopped by\t"{errno.errorcode[e.errno]}"')
print(f'ready\t"{sent}"', flush=True)
sys.stdin.read()
`

func TestDescriptorsInMessagesDoNotStopOthers(t *testing.T) {
	_, policies := gateway(t)
	onEachTarget(t, policies, func(t *testing.T, s *site) {
		run := s.begin(t, filtered, "python3", "-c", fillMessages)
		if run.said["stopped by"] != "ETOOMANYREFS" {
			t.Errorf("the attack: %v", run.said)
		}
		s.answers("full messages", 1)
		// A listener is passed on as well, and a client of the same user passes pipes.
		if r := s.Creel("exec", "--policy", "online", "--", "echo", "next"); r.Stdout != "next\n" {
			t.Errorf("with a network: %+v", r)
		}
		if r := s.Run(s.CommandAs(testrig.User, 65534, "exec", "--", "echo", "next")); r.Stdout != "next\n" {
			t.Errorf("by a client of the same user: %+v", r)
		}
		if code := run.end(t); code != 0 {
			t.Errorf("the attack: exit %d, %s", code, run.stderr.String())
		}
	})
}

func TestKeyringsAreOutOfReach(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		want := outcomes{"keyctl": "EPERM", "add_key": "EPERM", "request_key": "EPERM"}
		control := s.control(0, "calls")
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, "calls")
			for name := range want {
				if got[name] != want[name] || control[name] == want[name] {
					t.Errorf("%s: %s: %q, and outside %q", policy, name, got[name], control[name])
				}
			}
		}
		got := s.inside(filtered, "read", "/proc/keys", "/proc/key-users")
		got.expect(t, "inside", got.all("empty", nil))
	})
}

// freePort finds a TCP port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// Package egress_test has commands and agents in real sandboxes try to reach what
// their policy does not name, on an Internet of the tests' own.
package egress_test

import (
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/internet"
	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestMain(m *testing.M) { os.Exit(internet.Main(m)) }

// knock sends each attempt to the proxy from inside, and prints the answers.
const knock = `
import base64, json, socket
answers = {}
for name, sent in json.load(open("/workspace/attempts.json")).items():
    with socket.create_connection(("127.0.0.1", 3128), 20) as s:
        try:
            s.sendall(base64.b64decode(sent))
            s.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = b""
        try:
            while chunk := s.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
        answers[name] = answer.decode("latin-1")
print(json.dumps(answers))
`

// listedServices are those that the policies name.
const listedServices = "api.example.org:443, api.example.org:8443, 93.184.216.34:443, inside.example.org:443"

// site is an Internet, and a supervisor with a policy that names one service
// of it.
type site struct {
	*testrig.Rig
	net      *internet.Internet
	api      *internet.Service
	others   []*internet.Service
	gateway  *internet.Service
	redirect *internet.Service
}

func newSite(t *testing.T, runtime string) *site {
	t.Helper()
	s := &site{net: internet.New(t)}
	authority := s.net.NewAuthority()
	s.api = s.net.Serve(authority, "93.184.216.34:443", false, "api.example.org")
	s.redirect = s.net.Serve(authority, "93.184.216.34:8443", false, "api.example.org")
	s.redirect.Answer("HTTP/1.1 302 Found\r\nLocation: https://169.254.169.254/latest/meta-data\r\nContent-Length: 0\r\n\r\n")
	s.api.Answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	for _, address := range []string{"93.184.216.34:80", "93.184.216.35:443", "10.0.0.5:443", "169.254.169.254:443", "169.254.169.254:80", "[fd00:ec2::254]:443"} {
		s.others = append(s.others, s.net.Serve(authority, address, false, "other.example.org"))
	}
	for _, address := range []string{"127.0.0.1:443", internet.HostAddress + ":443"} {
		s.others = append(s.others, s.net.Serve(authority, address, true, "host.example.org"))
	}
	s.gateway = s.net.Serve(authority, "127.0.0.1:18789", true, "gateway")
	s.net.Name("api.example.org", "93.184.216.34")
	s.net.Name("other.example.org", "93.184.216.35")
	s.net.Name("inside.example.org", "10.0.0.5")
	s.Rig = testrig.Start(t, testrig.Options{Runtime: runtime, Policy: `network:
  gateway: 127.0.0.1:18789
  egress: [` + listedServices + `]
  egressReason: tests`})
	s.write(t, "ca.pem", authority.PEM())
	return s
}

func (s *site) write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Workspace, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// untouched fails when a byte reached any service.
func (s *site) untouched(t *testing.T, services ...*internet.Service) {
	t.Helper()
	for _, service := range append(services, s.others...) {
		if n, lines := service.Reached(); n > 0 {
			t.Errorf("%d bytes reached %s: %q", n, service.Address, lines)
		}
	}
}

const curl = "curl --silent --show-error --max-time 20 --cacert /workspace/ca.pem "

func TestCommandReachesTheServicesOfItsPolicy(t *testing.T) {
	each(t, func(t *testing.T, s *site, shell func(string) testrig.Result) {
		for _, script := range []string{
			curl + "https://api.example.org/x",
			curl + "--proxy socks5h://127.0.0.1:3128 https://api.example.org/x",
			curl + "--insecure https://93.184.216.34/x",
		} {
			if got := shell(script); got.Code != 0 || got.Stdout != "hello" {
				t.Errorf("%s: %+v", script, got)
			}
		}
		s.untouched(t)
		if got := s.Creel("ps", "-a"); !strings.Contains(got.Stdout, "network.egress") {
			t.Errorf("ps does not say that it is a weaker mode:\n%s", got.Stdout)
		}
	})
}

func TestNoWayAroundTheListFromInside(t *testing.T) {
	each(t, func(t *testing.T, s *site, shell func(string) testrig.Result) {
		sent := map[string]string{}
		rules := map[string]int{}
		for _, a := range internet.Attempts() {
			sent[a.Name] = base64.StdEncoding.EncodeToString(a.Bytes(t))
			rules[a.Rule]++
		}
		data, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, "attempts.json", data)
		s.write(t, "knock.py", []byte(knock))
		got := shell("python3 /workspace/knock.py")
		var answers map[string]string
		if err := json.Unmarshal([]byte(got.Stdout), &answers); err != nil || len(answers) < 40 || len(answers) != len(sent) {
			t.Fatalf("%d answers to %d attempts: %v\n%+v", len(answers), len(sent), err, got)
		}
		s.untouched(t, s.api, s.gateway)
		for rule, n := range rules {
			logged := func() int { return strings.Count(s.Log(), "rule="+rule) }
			// A refusal is logged once it has been answered.
			if rule != "" && !s.Holds(func() bool { return logged() >= n }) {
				t.Errorf("%d refusals by %s are logged, want %d", logged(), rule, n)
			}
		}
		// The control: what is listed is reached the same way.
		s.write(t, "attempts.json", []byte(`{"control": "`+base64.StdEncoding.EncodeToString(
			append([]byte(internet.ConnectTo("api.example.org:443")), internet.Hello(t, "api.example.org")...))+`"}`))
		shell("python3 /workspace/knock.py")
		if n, _ := s.api.Reached(); n == 0 {
			t.Error("control: nothing reached the service that is listed")
		}
	})
}

func TestOtherWaysOutStayClosed(t *testing.T) {
	for kind, shell := range inside {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, testrig.Runtimes[0])
			stayClosed(t, s, shell(s, t))
		})
	}
}

func stayClosed(t *testing.T, s *site, shell func(script string) testrig.Result) {
	t.Helper()
	for _, c := range []struct{ what, script, want string }{
		{"a name that is not listed", curl + "https://other.example.org/", "403"},
		{"plain HTTP", curl + "--fail http://api.example.org/", "400"},
		{"a redirect to metadata", curl + "--location --insecure https://api.example.org:8443/", "403"},
		{"past the proxy", curl + "--noproxy '*' --insecure https://93.184.216.34/", "connect"},
		{"past the proxy, to its own address", curl + "--noproxy '*' --insecure https://" + internet.HostAddress + "/", "connect"},
		{"the gateway as a proxy", curl + "--proxytunnel --proxy http://127.0.0.1:18789 https://other.example.org/", "proxy"},
		{"the gateway through the proxy", curl + "--noproxy '' --proxy http://127.0.0.1:3128 https://127.0.0.1:18789/", "403"},
		{"a name server", "python3 -c 'import socket; print(socket.getaddrinfo(\"api.example.org\", 443))'", "Error"},
	} {
		got := shell(c.script)
		if got.Code == 0 || !strings.Contains(strings.ToLower(got.Stderr), strings.ToLower(c.want)) {
			t.Errorf("%s: %+v", c.what, got)
		}
		s.untouched(t, s.api)
	}
	if n, _ := s.redirect.Reached(); n == 0 {
		t.Error("control: the service that redirects was not reached")
	}
	if n, _ := s.gateway.Reached(); n == 0 {
		t.Error("control: the gateway was not asked to be a proxy")
	}
	// A name that changes what it means.
	s.net.Name("api.example.org", "93.184.216.34", "10.0.0.5")
	if got := shell(curl + "https://api.example.org/"); got.Code != 0 {
		t.Errorf("control: %+v", got)
	}
	s.api.Reached()
	if got := shell(curl + "https://api.example.org/"); got.Code == 0 || !strings.Contains(got.Stderr, "403") {
		t.Errorf("a name that points inside now: %+v", got)
	}
	s.untouched(t, s.api)
}

// Without egress there is no proxy, and nothing tells of one.
func TestPolicyWithoutEgressHasNoProxy(t *testing.T) {
	s := newSite(t, testrig.Runtimes[0])
	for _, network := range []string{"network: {gateway: 127.0.0.1:18789}", "network: {gateway: 127.0.0.1:18789, egress: []}"} {
		s.WritePolicy("without", s.PolicyText("without", network))
		s.Reload()
		got := s.Creel("exec", "--policy", "without", "--", "sh", "-c", "env; "+curl+"--proxy http://127.0.0.1:3128 https://api.example.org/")
		if got.Code == 0 || strings.Contains(strings.ToLower(got.Stdout), "proxy") || !strings.Contains(got.Stderr, "3128") {
			t.Errorf("%s: %+v", network, got)
		}
	}
	s.untouched(t, s.api)
	if _, err := net.Dial("tcp", "127.0.0.1:3128"); err == nil {
		t.Error("the proxy listens on the host")
	}
}

// A hostile command fills neither the journal nor the supervisor.
func TestRefusalsAreLoggedWithinBounds(t *testing.T) {
	s := newSite(t, testrig.Runtimes[0])
	got := s.Exec("/usr/bin/python3", "-c", `
import socket
for i in range(250):
    with socket.create_connection(("127.0.0.1", 3128), 20) as s:
        s.sendall(b"CONNECT other.example.org:443 HTTP/1.1\r\n\r\n")
        assert s.recv(65536).startswith(b"HTTP/1.1 403 "), i
`)
	if got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	// One more is logged for each minute that they took.
	if n := strings.Count(s.Log(), "egress refused"); n < 100 || n > 110 || !strings.Contains(s.Log(), "not logged") {
		t.Errorf("%d of 250 refusals are logged", n)
	}
}

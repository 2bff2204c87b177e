package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/internet"
)

// try sends one attempt and returns what comes back until the end.
func (w *world) try(t *testing.T, sent []byte) string {
	t.Helper()
	caller := w.connection(t)
	if _, err := caller.Write(sent); err != nil {
		t.Logf("write: %v", err) // it may have been refused before the end
	}
	_ = caller.CloseWrite()
	answer, _ := io.ReadAll(caller)
	return string(answer)
}

// untouched fails when anything reached any service.
func (w *world) untouched(t *testing.T) {
	t.Helper()
	for _, service := range append(slices.Clone(w.others), w.api) {
		if n, lines := service.Reached(); n > 0 {
			t.Errorf("%d bytes reached %s: %q", n, service.Address, lines)
		}
	}
}

func TestNoWayAroundTheList(t *testing.T) {
	w := newWorld(t)
	w.Name("inside.example.org", "10.0.0.5")
	for _, a := range internet.Attempts() {
		t.Run(a.Name, func(t *testing.T) {
			answer := w.try(t, a.Bytes(t))
			refusals := w.refused()
			if a.Rule == "" {
				// However it is read, nothing is reached; that is below.
				t.Logf("answered %.60q", answer)
			} else if len(refusals) != 1 || refusals[0].Rule != a.Rule || refusals[0].Reason == "" {
				t.Errorf("refusals %+v, want one by %s; answered %.60q", refusals, a.Rule, answer)
			}
			w.untouched(t)
		})
	}
	// The control: the listed name, in other letters, and with a final dot.
	for _, target := range []string{"api.example.org:443", "API.Example.ORG:443", "api.example.org.:443", "ａｐｉ.example.org:443", "93.184.216.34:443"} {
		if got := w.echo(t, target, "api.example.org"); got != "control" {
			t.Errorf("%s: %q", target, got)
		}
	}
	if refusals := w.refused(); len(refusals) > 0 {
		t.Errorf("controls refused: %+v", refusals)
	}
}

// echo has a conversation with a service through CONNECT.
func (w *world) echo(t *testing.T, target, name string) string {
	t.Helper()
	caller := w.connection(t)
	if _, err := io.WriteString(caller, internet.ConnectTo(target)); err != nil {
		t.Fatal(err)
	}
	return w.converse(t, caller, "HTTP/1.1 200 Connection established\r\n\r\n", name, strings.HasPrefix(target, "93."))
}

// converse reads the proxy's answer and then says a line over TLS.
func (w *world) converse(t *testing.T, caller net.Conn, answer, name string, literal bool) string {
	t.Helper()
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(caller, got); err != nil || string(got) != answer {
		return fmt.Sprintf("%q, %v", got, err)
	}
	config := &tls.Config{RootCAs: w.authority.Pool(), ServerName: name}
	if literal { // no name is sent for an address; the certificate is for a name
		config.ServerName, config.InsecureSkipVerify = "", true
	}
	inner := tls.Client(caller, config)
	if _, err := io.WriteString(inner, "control"); err != nil {
		return err.Error()
	}
	line := make([]byte, len("control"))
	if _, err := io.ReadFull(inner, line); err != nil {
		return err.Error()
	}
	return string(line)
}

func TestSocksReachesWhatIsListed(t *testing.T) {
	w := newWorld(t)
	caller := w.connection(t)
	if _, err := io.WriteString(caller, internet.Socks(1, socksName, "api.example.org", 443)); err != nil {
		t.Fatal(err)
	}
	if got := w.converse(t, caller, "\x05\x00\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "api.example.org", false); got != "control" {
		t.Error(got)
	}
	// No method that fits is said so (RFC 1928 3).
	caller = w.connection(t)
	if _, err := io.WriteString(caller, "\x05\x01\x02"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(caller); string(answer) != "\x05\xff" {
		t.Errorf("answer %q", answer)
	}
}

// A listed name that points inside, at once or from the second time on.
func TestNameThatPointsInsideReachesNothing(t *testing.T) {
	w := newWorld(t)
	for _, inside := range []string{
		"127.0.0.1", "10.0.0.5", "192.168.7.7", "169.254.169.254", "100.100.100.200", "168.63.129.16", "0.0.0.0", "255.255.255.255", "224.0.0.1",
		"::1", "::ffff:127.0.0.1", "fd00:ec2::254", "64:ff9b::a00:5", "fe80::1", "2002:7f00:1::", "93.184.216.34 10.0.0.5", "10.0.0.5 93.184.216.34",
		"93.184.216.1", "2606:2800:220:1::1",
	} {
		w.Name("inside.example.org", inside)
		answer := w.try(t, append([]byte(internet.ConnectTo("inside.example.org:443")), internet.Hello(t, "inside.example.org")...))
		if refusals := w.refused(); len(refusals) != 1 || refusals[0].Rule != RuleProhibited {
			t.Errorf("%s: refusals %+v, answered %q", inside, refusals, answer)
		}
		if !strings.HasPrefix(answer, "HTTP/1.1 403 Forbidden\r\nProxy-Status: creel; error=destination_ip_prohibited\r\n") {
			t.Errorf("%s: answered %q", inside, answer)
		}
		w.untouched(t)
	}
	w.Name("api.example.org", "93.184.216.34", "127.0.0.1")
	if got := w.echo(t, "api.example.org:443", "api.example.org"); got != "control" {
		t.Fatalf("control: %s", got)
	}
	w.api.Reached()
	w.try(t, append([]byte(internet.ConnectTo("api.example.org:443")), internet.Hello(t, "api.example.org")...))
	if refusals := w.refused(); len(refusals) != 1 || refusals[0].Rule != RuleProhibited {
		t.Errorf("the second time: %+v", refusals)
	}
	w.untouched(t)
	w.try(t, []byte(internet.ConnectTo("gone.example.org:443"))) // what a resolver completes is a name that there is not
	if asked := w.Asked(); slices.ContainsFunc(asked, func(name string) bool { return strings.HasSuffix(name, "example.net") }) {
		t.Errorf("the search list was used: %q", asked)
	}
}

func TestServicesThatCannotBeReachedAreNamed(t *testing.T) {
	w := newWorld(t)
	w.Name("closed.example.org", "93.184.216.34")
	w.Name("six.example.org", "2606:2800:220:1::34")
	for target, rule := range map[string]string{"gone.example.org:443": RuleDNS, "closed.example.org:444": RuleUnreachable, "six.example.org:443": RuleUnreachable} {
		answer := w.try(t, []byte(internet.ConnectTo(target)))
		refusals := w.refused()
		if len(refusals) != 1 || refusals[0].Rule != rule || refusals[0].Asked != target || !strings.HasPrefix(answer, "HTTP/1.1 502 ") || !strings.Contains(answer, target) {
			t.Errorf("%s: refusals %+v, answered %q", target, refusals, answer)
		}
	}
	service := w.Serve(w.authority, "[2606:2800:220:1::34]:443", false, "six.example.org")
	if got := w.echo(t, "six.example.org:443", "six.example.org"); got != "control" {
		t.Errorf("IPv6: %s", got)
	}
	if n, _ := service.Reached(); n == 0 {
		t.Error("control: nothing was counted")
	}
}

// A hello in as many records and writes as there are bytes is read as one.
func TestHelloInPiecesIsStillRead(t *testing.T) {
	w := newWorld(t)
	whole := internet.Hello(t, "other.example.org")
	var pieces []byte
	for _, b := range whole[5:] { // behind the header of the one record
		pieces = append(pieces, 22, 3, 1, 0, 1, b)
	}
	for _, name := range []string{"", "api.example.org"} {
		sent := pieces
		if name != "" {
			whole, sent = internet.Hello(t, name), nil
			for _, b := range whole[5:] {
				sent = append(sent, 22, 3, 1, 0, 1, b)
			}
		}
		caller := w.connection(t)
		_, _ = caller.Write(append([]byte(internet.ConnectTo("api.example.org:443")), sent...))
		_ = caller.CloseWrite()
		_, _ = io.ReadAll(caller)
		n, _ := w.api.Reached()
		if name == "" && (n > 0 || len(w.refused()) != 1) {
			t.Errorf("%d bytes passed for another name", n)
		}
		if name != "" && n != len(sent) {
			t.Errorf("control: %d bytes of %d passed", n, len(sent))
		}
	}
}

func TestOnlyCanonicalDestinationsAreTaken(t *testing.T) {
	for _, d := range []Destination{{"API.example.org", 443}, {"api.example.org.", 443}, {"api.example.org", 0}, {"", 443}, {"localhost", 443}, {"0x7f.1", 443}, {"::ffff:1.2.3.4", 443}} {
		if _, err := New([]Destination{d}, nil); err == nil {
			t.Errorf("%q was taken", d)
		}
	}
	if _, err := New([]Destination{{"api.example.org", 443}, {"1.2.3.4", 1}, {"2606:2800:220:1::34", 443}}, nil); err != nil {
		t.Errorf("control: %v", err)
	}
}

// Nothing is allowed by an empty list (CVE-2025-66479 was the opposite).
func TestEmptyListAllowsNothing(t *testing.T) {
	p, err := New(nil, func(*Refusal) {})
	check(t, err)
	if to, err := p.find("api.example.org", 443); err == nil {
		t.Errorf("found %v", to)
	}
}

func TestAskingForLongEndsInTime(t *testing.T) {
	w := newWorld(t)
	for _, endless := range []string{"CONNECT " + strings.Repeat("a", 1<<20), "CONNECT a:1 HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 1<<18)} {
		caller := w.connection(t)
		check(t, caller.SetDeadline(time.Now().Add(20*time.Second)))
		_, _ = io.Copy(caller, strings.NewReader(endless))
		_, err := io.Copy(io.Discard, caller)
		if e, timeout := err.(net.Error); timeout && e.Timeout() {
			t.Error("it still listens")
		}
	}
	w.untouched(t)
}

func FuzzCanonical(f *testing.F) {
	for _, a := range internet.Attempts() {
		f.Add(a.SNI)
	}
	for _, s := range []string{"", ".", "[::1]", "::1%lo", "0x7f.1", "ａ.example.org", "xn--a.example.org", "a..b", "-a.example.org"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		once, err := Canonical(host)
		if err != nil {
			return
		}
		if twice, err := Canonical(once); err != nil || twice != once {
			t.Fatalf("%q became %q, then %q, %v", host, once, twice, err)
		}
		if strings.ToLower(once) != once || strings.ContainsAny(once, "\x00%@/#? \r\n[]") {
			t.Fatalf("%q became %q", host, once)
		}
	})
}

// Whatever is sent, only what is listed is found, and what is passed on is
// what was said.
func FuzzAsk(f *testing.F) {
	for _, a := range internet.Attempts() {
		f.Add([]byte(a.Sent))
	}
	f.Add([]byte(internet.ConnectTo("api.example.org:443")))
	listed := Destination{"api.example.org", 443}
	p, err := New([]Destination{listed}, func(*Refusal) {})
	check(f, err)
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, speaks := range []protocol{httpConnect{}, socks5{}} {
			a := &asking{in: bufio.NewReader(bytes.NewReader(sent)), out: io.Discard}
			host, port, err := speaks.ask(a)
			if err != nil {
				continue
			}
			if to, err := p.find(host, port); err == nil && to != listed {
				t.Fatalf("%q found %v", host, to)
			}
		}
		if raw, _, err := readHello(bytes.NewReader(sent)); err == nil && !bytes.HasPrefix(sent, raw) {
			t.Fatal("what was heard is not what was said")
		}
	})
}

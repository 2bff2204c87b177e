package server_test

import (
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// soon is a pause for tests that do not look at it.
const soon = time.Millisecond

// tokenOf has the server make a token, as root does.
func tokenOf(t testing.TB, sockets servertest.Sockets, route, name string) []byte {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	_, wire := connect(t, sockets.Admin)
	err = wire.Send(api.Request{Route: route, Body: body(t, api.TokenRequest{Name: name, Policies: []string{api.DefaultPolicy}, Life: time.Hour})}, int(write.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	if event := receive(t, wire); event.Type != api.EventReply || strings.Contains(string(event.Reply), "creel_") {
		t.Fatalf("%s: %+v", route, event)
	}
	token, err := io.ReadAll(read)
	if err != nil || len(token) == 0 {
		t.Fatalf("%d bytes came: %v", len(token), err)
	}
	return token
}

// shows asks with a token, as a stranger.
func shows(t testing.TB, path string, token []byte, route string, v any) api.Event {
	t.Helper()
	conn, err := dialAs(t, stranger, path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wire, err := api.NewConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.Send(api.Request{Route: route, Token: token, Body: body(t, v)}); err != nil {
		t.Fatal(err)
	}
	return receive(t, wire)
}

// On the token socket the token says who calls, and nothing else does: not that
// it is root who connects.
func TestTokenAloneSaysWhoCallsOnItsSocket(t *testing.T) {
	host := &servertest.Host{}
	_, sockets := servertest.Serve(t, server.Options{Backend: host, TokenPause: soon, Admins: []uint32{stranger}})
	token := tokenOf(t, sockets, api.RouteTokenCreate, "ci")
	for _, uid := range []int{0, stranger, neighbour} {
		event := asks(t, uid, sockets.Token, `{"route":"version"}`)
		if event.Error == nil {
			t.Fatalf("uid %d without a token: %+v", uid, event)
		}
		checkError(t, event.Error, api.CodeDenied, "none came", "CREEL_TOKEN_FILE")
	}
	if event := shows(t, sockets.Token, token, api.RouteVersion, struct{}{}); event.Type != api.EventReply {
		t.Errorf("positive control: version with a token: %+v", event)
	}
	_, wire := connect(t, sockets.Token)
	s := newStdio(t)
	err := wire.Send(api.Request{Route: api.RouteExec, Token: token, Body: body(t, shell("true"))}, int(s.theirs[0].Fd()), int(s.theirs[1].Fd()), int(s.theirs[2].Fd()))
	if err != nil {
		t.Fatal(err)
	}
	receive(t, wire)
	if event := receive(t, wire); event.Type != api.EventExited {
		t.Fatalf("event %+v", event)
	}
	if peer := host.Peers()[0]; peer.UID != 1<<32-1 || peer.GID != 1<<32-1 || peer.PID != 0 || peer.Holder == nil || peer.Holder.Name != "ci" {
		t.Errorf("root with a token is %+v", peer)
	}
}

func TestWrongTokenIsRefusedWithoutAWordOfWhy(t *testing.T) {
	var log strings.Builder
	var mu sync.Mutex
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, TokenPause: soon, Log: func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		log.WriteString(format)
		for _, arg := range args {
			if text, ok := arg.(string); ok {
				log.WriteString(text)
			}
		}
	}})
	token := tokenOf(t, sockets, api.RouteTokenCreate, "ci")
	replaced := token
	token = tokenOf(t, sockets, api.RouteTokenRotate, "ci")
	other := append([]byte(nil), token...)
	other[len(other)-1]++
	for name, wrong := range map[string][]byte{
		"replaced": replaced, "truncated": token[:len(token)-1], "longer": append(other[:len(other):len(other)], 'a'), "another": other,
		"its name": []byte("ci"), "NUL": {0}, "1 MiB": make([]byte, 1<<20),
	} {
		event := shows(t, sockets.Token, wrong, api.RouteVersion, struct{}{})
		if event.Error == nil {
			t.Fatalf("%s: %+v", name, event)
		}
		checkError(t, event.Error, api.CodeDenied, "the token is none that is in force here", "creel token ls")
		if strings.Contains(event.Error.Message+event.Error.Hint, "ci") && strings.Contains(event.Error.Message, `"ci"`) {
			t.Errorf("%s: told of the name: %+v", name, event.Error)
		}
	}
	if event := shows(t, sockets.Token, token, api.RouteVersion, struct{}{}); event.Type != api.EventReply {
		t.Errorf("positive control: %+v", event)
	}
	mu.Lock()
	defer mu.Unlock()
	if !strings.Contains(log.String(), "refused a token") || strings.Contains(log.String(), string(token[6:20])) || strings.Contains(log.String(), string(replaced[6:20])) {
		t.Errorf("logged %q", log.String())
	}
}

// What only operators may do, no token does, root's least of all.
func TestNoTokenOpensAnAdminRoute(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &planter{}, TokenPause: soon, Admins: []uint32{stranger}})
	token := tokenOf(t, sockets, api.RouteTokenCreate, "ci")
	routes := []string{api.RouteInspect, api.RouteLogs, api.RouteStats, api.RouteDoctor, api.RouteRevoke, api.RoutePlaces, api.RouteCanary,
		api.RouteSecretSet, api.RouteSecretRotate, api.RouteSecretRemove, api.RouteSecretList,
		api.RouteTokenCreate, api.RouteTokenRotate, api.RouteTokenRevoke, api.RouteTokenList}
	for _, route := range routes {
		event := shows(t, sockets.Token, token, route, struct{}{})
		if event.Error == nil {
			t.Fatalf("%s with a token: %+v", route, event)
		}
		checkError(t, event.Error, api.CodeDenied, "no token is for", route)
	}
	for _, route := range []string{api.RouteVersion, api.RoutePolicy, api.RoutePs} {
		if event := shows(t, sockets.Token, token, route, struct{}{}); event.Type != api.EventReply {
			t.Errorf("positive control: %s with a token: %+v", route, event)
		}
	}
}

// Elsewhere the kernel says who calls, and a token is a mistake.
func TestTokenIsRefusedOnTheOtherSockets(t *testing.T) {
	host := &servertest.Host{}
	_, sockets := servertest.Serve(t, server.Options{Backend: host, TokenPause: soon})
	token := tokenOf(t, sockets, api.RouteTokenCreate, "ci")
	for _, path := range []string{sockets.Exec, sockets.Admin} {
		event := shows(t, path, token, api.RouteVersion, struct{}{})
		if event.Error == nil {
			t.Fatalf("a token on %s: %+v", path, event)
		}
		checkError(t, event.Error, api.CodeBadRequest, "takes no token", "CREEL_TOKEN_FILE")
		if event := asks(t, stranger, path, `{"route":"version"}`); event.Type != api.EventReply {
			t.Errorf("positive control: %+v", event)
		}
	}
}

func TestOnlyRootMakesTokensAndAdminsRevokeThem(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, Admins: []uint32{stranger}})
	tokenOf(t, sockets, api.RouteTokenCreate, "ci")
	for _, route := range []string{api.RouteTokenCreate, api.RouteTokenRotate} {
		event := asks(t, stranger, sockets.Admin, `{"route":"`+route+`"}`)
		if event.Error == nil {
			t.Fatalf("%s by an admin: %+v", route, event)
		}
		checkError(t, event.Error, api.CodeDenied, "root alone", "`sudo creel "+route+"`")
	}
	for _, route := range []string{api.RouteTokenRevoke, api.RouteTokenList} {
		if event := asks(t, neighbour, sockets.Admin, `{"route":"`+route+`"}`); event.Error == nil || event.Error.Code != api.CodeDenied {
			t.Errorf("%s by a stranger: %+v", route, event)
		}
	}
	if event := asks(t, stranger, sockets.Admin, `{"route":"token revoke","body":{"names":["ci"]}}`); event.Type != api.EventReply {
		t.Errorf("revoke by an admin: %+v", event)
	}
	if event := asks(t, 0, sockets.Admin, `{"route":"token revoke","body":{}}`); event.Error == nil || event.Error.Code != api.CodeBadRequest {
		t.Errorf("revoke of nothing: %+v", event)
	}
}

// A file in the place of the pipe would keep the token.
func TestTokenIsWrittenIntoNothingButAPipe(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	path := t.TempDir() + "/token"
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	for name, fd := range map[string]int{"a file": int(file.Fd()), "a socket": pair[0], "the wrong end": int(read.Fd())} {
		_, wire := connect(t, sockets.Admin)
		if err := wire.Send(api.Request{Route: api.RouteTokenCreate, Body: body(t, api.TokenRequest{Name: "ci"})}, fd); err != nil {
			t.Fatal(err)
		}
		if event := receive(t, wire); event.Error == nil || event.Error.Code != api.CodeBadRequest {
			t.Errorf("%s: %+v", name, event)
		}
	}
	if info, err := file.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%d bytes in the file, %v", info.Size(), err)
	}
	tokenOf(t, sockets, api.RouteTokenCreate, "ci")
}

// What a token began ends with it; what another began goes on.
func TestEndOfATokenEndsWhatItBegan(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 3)}
	_, sockets := servertest.Serve(t, server.Options{Backend: host})
	begin := func(name string) *api.Conn {
		token := tokenOf(t, sockets, api.RouteTokenCreate, name)
		_, wire := connect(t, sockets.Token)
		s := newStdio(t)
		err := wire.Send(api.Request{Route: api.RouteExec, Token: token, Body: body(t, shell("exec sleep 1000"))}, int(s.theirs[0].Fd()), int(s.theirs[1].Fd()), int(s.theirs[2].Fd()))
		if err != nil {
			t.Fatal(err)
		}
		receive(t, wire)
		return wire
	}
	revoked, rotated, other := begin("revoked"), begin("rotated"), begin("other")
	if event := asks(t, 0, sockets.Admin, `{"route":"token revoke","body":{"names":["revoked"]}}`); event.Type != api.EventReply {
		t.Fatalf("revoke: %+v", event)
	}
	if cause := <-host.Causes; cause != server.ErrTokenEnded {
		t.Errorf("cause %v", cause)
	}
	if event := receive(t, revoked); event.Type != api.EventExited {
		t.Errorf("the caller is told %+v", event)
	}
	tokenOf(t, sockets, api.RouteTokenRotate, "rotated")
	if cause := <-host.Causes; cause != server.ErrTokenEnded {
		t.Errorf("cause %v", cause)
	}
	receive(t, rotated)
	event := asks(t, 0, sockets.Admin, `{"route":"ps"}`)
	if n := strings.Count(string(event.Reply), `"token:`); n != 1 || !strings.Contains(string(event.Reply), "token:other") {
		t.Errorf("left: %s", event.Reply)
	}
	other.Close()
	if cause := <-host.Causes; cause != server.ErrCallerGone {
		t.Errorf("control: cause %v", cause)
	}
}

// So many wrong tokens can be tried at once as one uid has places, each until
// its pause is over; right ones of others are taken meanwhile.
func TestGuessesAreFewAndKeepNobodyOut(t *testing.T) {
	const places = 8
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, TokenPause: time.Hour, MaxConnsPerUID: places})
	token := tokenOf(t, sockets, api.RouteTokenCreate, "ci")
	answered := make(chan api.Event, 2*places)
	for range places + 1 {
		conn, err := dialAs(t, stranger, sockets.Token)
		if err != nil {
			t.Fatal(err)
		}
		wire, err := api.NewConn(conn)
		if err != nil {
			t.Fatal(err)
		}
		// One that has no place is answered before it is read.
		_ = wire.Send(api.Request{Route: api.RouteVersion, Token: []byte("creel_wrong")})
		go func() {
			var event api.Event
			if _, err := wire.Receive(&event); err == nil {
				answered <- event
			}
		}()
	}
	if event := <-answered; event.Error == nil || event.Error.Code != api.CodeBusy {
		t.Errorf("the first answer is %+v", event)
	}
	if event := asksWith(t, neighbour, sockets.Token, token); event.Type != api.EventReply {
		t.Errorf("another's good token meanwhile: %+v", event)
	}
	if event := asks(t, stranger, sockets.Exec, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("the guesser on the other socket: %+v", event)
	}
	if len(answered) != 0 {
		t.Errorf("a guess was answered: %+v", <-answered)
	}
}

func asksWith(t testing.TB, uid int, path string, token []byte) api.Event {
	t.Helper()
	return asks(t, uid, path, `{"route":"version","token":"`+strings.Trim(string(body(t, token)), `"`)+`"}`)
}

package server_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// rootRoutes are refused even to admins.
var rootRoutes = []string{api.RouteSecretSet, api.RouteSecretRotate, api.RouteSecretRemove}

func TestSecretsAreChangedByRootAlone(t *testing.T) {
	host := &servertest.Host{}
	_, sockets := servertest.Serve(t, server.Options{Backend: host, Admins: []uint32{stranger}})
	for _, route := range rootRoutes {
		for _, path := range []string{sockets.Exec, sockets.Admin} {
			event := strangerAsks(t, path, `{"route":"`+route+`","body":{}}`)
			if event.Error == nil {
				t.Fatalf("%s by an admin: %+v", route, event)
			}
			checkError(t, event.Error, api.CodeDenied, "root alone", "`sudo creel "+route+"`")
		}
		_, wire := connect(t, sockets.Exec)
		if err := wire.Send(api.Request{Route: route}); err != nil {
			t.Fatal(err)
		}
		wantError(t, wire, api.CodeDenied, "admin socket")
	}
	if event := strangerAsks(t, sockets.Admin, `{"route":"secret ls"}`); event.Type != api.EventReply {
		t.Errorf("positive control: ls by an admin: %+v", event)
	}
	if event := asks(t, neighbour, sockets.Admin, `{"route":"secret ls"}`); event.Error == nil {
		t.Errorf("ls by a stranger: %+v", event)
	}
	if event := give(t, sockets.Admin, api.RouteSecretSet, pipeOf(t, "a value")); event.Type != api.EventReply {
		t.Errorf("positive control: set by root: %+v", event)
	}
	if value, _ := host.Secret("token"); value != "a value" {
		t.Errorf("the backend was given %q", value)
	}
}

// pipeOf holds text and is at its end then.
func pipeOf(t *testing.T, text string) *os.File {
	t.Helper()
	read, write, err := os.Pipe()
	if err == nil {
		_, err = io.WriteString(write, text)
	}
	if err := errors.Join(err, write.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	return read
}

// give asks root's way, with a descriptor.
func give(t *testing.T, path, route string, value *os.File) api.Event {
	t.Helper()
	_, wire := connect(t, path)
	if err := wire.Send(api.Request{Route: route, Body: body(t, api.SecretRequest{Name: "token"})}, int(value.Fd())); err != nil {
		t.Fatal(err)
	}
	return receive(t, wire)
}

func TestValueOfASecretComesByAnonymousPipeOnly(t *testing.T) {
	host := &servertest.Host{}
	_, sockets := servertest.Serve(t, server.Options{Backend: host})
	dir := t.TempDir()
	file := dir + "/file"
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	for name, value := range map[string]*os.File{
		"a file": open(t, file, os.O_RDONLY), "a FIFO": open(t, dir+"/fifo", os.O_RDWR), "a directory": open(t, dir, os.O_RDONLY),
		"an O_PATH descriptor": open(t, file, unix.O_PATH), "the other end": write,
	} {
		for _, route := range []string{api.RouteSecretSet, api.RouteSecretRotate} {
			event := give(t, sockets.Admin, route, value)
			if event.Error == nil {
				t.Fatalf("%s by %s: %+v", route, name, event)
			}
			checkError(t, event.Error, api.CodeBadRequest, "the value")
		}
	}
	if value, ok := host.Secret("token"); ok {
		t.Errorf("the backend was given %q", value)
	}
	for _, route := range []string{api.RouteSecretSet, api.RouteSecretRotate} {
		_, wire := connect(t, sockets.Admin)
		if err := wire.Send(api.Request{Route: route, Body: body(t, api.SecretRequest{Name: "token"})}); err != nil {
			t.Fatal(err)
		}
		wantError(t, wire, api.CodeBadRequest, "takes 1 descriptors, and 0 came")
		// A value in the message is no key of the request, and is not repeated.
		_, wire = connect(t, sockets.Admin)
		if err := wire.Send(api.Request{Route: route, Body: body(t, map[string]string{"name": "token", "value": "canary"})}, int(pipeOf(t, "x").Fd())); err != nil {
			t.Fatal(err)
		}
		event := receive(t, wire)
		if event.Error == nil || strings.Contains(event.Error.Message, "canary") {
			t.Errorf("a value in the message: %+v", event)
		}
	}
}

// Whatever is refused, nothing of the value stays open in the supervisor.
func TestRefusedValueIsClosed(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	for name, request := range map[string]api.Request{
		"bad body":        {Route: api.RouteSecretSet, Body: body(t, map[string]int{"name": 1})},
		"another route":   {Route: api.RouteSecretList},
		"the wrong end":   {Route: api.RouteSecretSet, Body: body(t, api.SecretRequest{Name: "token"})},
		"an unknown name": {Route: "secret get"},
	} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_, wire := connect(t, sockets.Admin)
		if err := wire.Send(request, int(write.Fd())); err != nil {
			t.Fatal(err)
		}
		write.Close()
		if event := receive(t, wire); event.Error == nil {
			t.Errorf("%s: %+v", name, event)
		}
		read.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := read.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: the descriptor stayed open: %v", name, err)
		}
		read.Close()
	}
}

package servertest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// Sockets are where a test's server listens.
type Sockets struct{ Dir, Exec, Admin, Token string }

// Serve starts a server on fresh sockets that any uid may connect to, and
// closes it at the end of the test, whatever still runs.
func Serve(t testing.TB, options server.Options) (*server.Server, Sockets) {
	t.Helper()
	dir, err := os.MkdirTemp("", "creel-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sockets := Sockets{Dir: dir, Exec: filepath.Join(dir, api.ExecSocketName), Admin: filepath.Join(dir, api.AdminSocketName), Token: filepath.Join(dir, api.TokenSocketName)}
	if err := os.Mkdir(filepath.Dir(sockets.Token), 0o755); err != nil {
		t.Fatal(err)
	}
	options.Exec, options.Admin, options.Token = listen(t, sockets.Exec), listen(t, sockets.Admin), listen(t, sockets.Token)
	if options.Log == nil {
		options.Log = t.Logf
	}
	s := server.New(options)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Close(now); err != nil {
			t.Errorf("close server: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s, sockets
}

func listen(t testing.TB, path string) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	return listener
}

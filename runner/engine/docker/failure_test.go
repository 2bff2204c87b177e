package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/pidfd"
)

// serve answers on a socket in place of a daemon.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "creel-docker-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	listener, err := net.Listen("unix", dir+"/docker.sock")
	check(t, err)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return dir + "/docker.sock"
}

// through passes calls on to the daemon at a socket.
func through(socket string) *httputil.ReverseProxy {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	return proxy
}

// info is a sound daemon's, with what is given changed.
func info(changes map[string]any) http.HandlerFunc {
	answer := map[string]any{"ServerVersion": "1", "OSType": "linux", "CgroupDriver": "cgroupfs", "DefaultRuntime": "runc"}
	for key, value := range changes {
		answer[key] = value
	}
	return func(w http.ResponseWriter, r *http.Request) {
		version, _ := changes["API"].(string)
		if version == "" {
			version = "1.47"
		}
		w.Header().Set("Api-Version", version)
		switch {
		case strings.HasSuffix(r.URL.Path, "/info"):
			json.NewEncoder(w).Encode(answer)
		case strings.HasSuffix(r.URL.Path, "/containers/json"), strings.HasSuffix(r.URL.Path, "/images/json"):
			fmt.Fprint(w, "[]")
		case strings.HasSuffix(r.URL.Path, "/images/create"):
			fmt.Fprint(w, `{"status":"sha256:0"}`)
		case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/containers/create"):
			http.Error(w, `{"message":"no space left on device"}`, http.StatusInternalServerError)
		case r.Method == http.MethodDelete:
			http.Error(w, `{"message":"no such object"}`, http.StatusNotFound)
		}
	}
}

// A daemon that is not there, or that accepts and never answers, is named in
// an error that comes in time.
func TestUnavailableDaemonIsNamedInTime(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	for socket, cause := range map[string]error{"/tmp/no-such-docker.sock": unix.ENOENT, hanging: errTimeout} {
		r := newRig(t, socket, 200*time.Millisecond)
		began := time.Now()
		_, err := r.Prepare(t.Context(), r.policy(hostRoot), who)
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || unavailable.Socket != socket || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: got %v", socket, err)
		}
		if cause == errTimeout && !errors.Is(err, errTimeout) {
			t.Errorf("%s: got %v", socket, err)
		}
		if _, err := r.List(t.Context()); err != nil {
			t.Errorf("%s: list: %v", socket, err)
		}
		if err := r.Remove(t.Context(), "some"); !errors.As(err, &unavailable) {
			t.Errorf("%s: remove: %v", socket, err)
		}
		if took := time.Since(began); took > listTimeout+3*time.Second {
			t.Errorf("%s: took %v", socket, took)
		}
	}
}

// What a daemon cannot do for us is said, and a daemon that refuses is quoted.
func TestUnfitDaemonIsRefused(t *testing.T) {
	for told, changes := range map[string]map[string]any{
		"":                        {}, // the control
		"its containers run":      {"OSType": "windows"},
		"Docker 20.10":            {"API": "1.40"},
		"rootless":                {"SecurityOptions": []string{"name=seccomp,profile=default", "name=rootless"}},
		`cgroup driver is "none"`: {"CgroupDriver": "none"},
	} {
		r := newRig(t, serve(t, info(changes)), 0)
		p := r.policy(hostRoot)
		root, err := r.Prepare(t.Context(), p, who)
		if told != "" {
			if !errors.Is(err, engine.ErrRefused) || !strings.Contains(err.Error(), told) {
				t.Errorf("%s: got %v", told, err)
			}
			continue
		}
		check(t, err)
		_, err = r.Create(t.Context(), request("full", p, root))
		if err == nil || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("a daemon that refuses: %v", err)
		}
		if listed, err := r.List(t.Context()); err != nil || len(listed) != 0 {
			t.Errorf("left %v, %v", listed, err)
		}
	}
}

// A removal that is under way elsewhere is waited for.
func TestConflictOnRemoveIsAwaited(t *testing.T) {
	var calls atomic.Int32
	sound := info(nil)
	r := newRig(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodDelete && calls.Add(1) < 4 {
			http.Error(w, `{"message":"removal of container is already in progress"}`, http.StatusConflict)
			return
		}
		sound(w, req)
	}), 0)
	check(t, r.Remove(t.Context(), "some"))
	if calls.Load() != 4 {
		t.Errorf("asked %d times", calls.Load())
	}
}

// The daemon makes or starts the container and the answer is lost, or it does
// so only after it was given up: nothing is left either way.
func TestLostAnswerLeavesNothing(t *testing.T) {
	r := realRig(t)
	for name, c := range map[string]struct {
		path  string
		after bool // the daemon is reached only after the caller has given up
	}{
		"create": {"/containers/create", false}, "start": {"/start", false}, "late": {"/containers/create", true},
	} {
		proxy, made := through(r.daemon.Socket), make(chan struct{})
		lossy := serve(t, func(w http.ResponseWriter, req *http.Request) {
			if !strings.HasSuffix(req.URL.Path, c.path) {
				proxy.ServeHTTP(w, req)
				return
			}
			body, _ := io.ReadAll(req.Body) // until it is read, nobody looks whether the caller is still there
			req.Body = io.NopCloser(bytes.NewReader(body))
			if c.after {
				<-req.Context().Done()
				defer close(made)
			}
			proxy.ServeHTTP(discard{}, req.WithContext(context.WithoutCancel(req.Context())))
			panic(http.ErrAbortHandler) // closes the connection without an answer
		})
		timeout := patience
		if c.after {
			timeout = 3 * time.Second
		}
		e := r.open(lossy, timeout)
		p := r.policy(hostRoot)
		root, err := e.Prepare(t.Context(), p, who)
		check(t, err)
		_, err = e.Create(t.Context(), request(name, p, root))
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) {
			t.Errorf("%s: got %v", name, err)
		}
		if c.after {
			<-made
		}
		eventually(t, name+": nothing is left", func() bool { return len(r.daemon.Containers()) == 0 })
		check(t, root.Release())
		check(t, e.Close())
		check(t, os.MkdirAll(r.stateDir(), 0o700))
	}
	r.gone()
}

// discard is an answer that nobody gets.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// The daemon is killed under running sandboxes. They can be ended and are
// listed as long as anything of them exists; once it is back nothing is left.
func TestDaemonKilledUnderSandboxes(t *testing.T) {
	r := realRig(t)
	p := r.policy(hostRoot)
	boxes := map[string]box{}
	for i := range 4 {
		id := fmt.Sprint("box", i)
		boxes[id] = r.create(id, p)
	}
	boxes["box0"].start(t, "/bin/sh", "-c", "exec sleep 1000")
	r.daemon.KillDaemon()
	if listed, err := r.List(t.Context()); err != nil || len(listed) != len(boxes) {
		t.Errorf("while it is down: %v, %v", listed, err)
	}
	for id, b := range boxes {
		var unavailable *UnavailableError
		if err := r.Remove(t.Context(), id); !errors.As(err, &unavailable) {
			t.Errorf("%s: got %v", id, err)
		}
		check(t, pidfd.Wait(b.Pidfd)) // it has ended all the same
		if pids, err := b.Group.Procs(); err == nil {
			t.Errorf("%s: has processes %v", id, pids)
		}
	}
	r.daemon.StartDaemon()
	eventually(t, "nothing is left", func() bool {
		listed, err := r.List(t.Context())
		return err == nil && len(listed) == 0
	})
	r.gone()
}

// What a killed supervisor left, the next one finds, whether the daemon is
// there when it starts or only later.
func TestNextSupervisorFindsWhatIsLeft(t *testing.T) {
	r := realRig(t)
	p := r.policy(hostRoot)
	for _, id := range []string{"recorded", "forgotten"} {
		r.create(id, p)
	}
	check(t, os.RemoveAll(r.dir+"/docker/forgotten")) // such as when /run was emptied
	r.daemon.StopDaemon()
	next := r.open(r.daemon.Socket, 0)
	listed, err := next.List(t.Context())
	if err != nil || len(listed) != 1 || listed[0].ID != "recorded" {
		t.Errorf("without the daemon: %v, %v", listed, err)
	}
	if err := next.Remove(t.Context(), "recorded"); err == nil {
		t.Error("removed without the daemon")
	}
	r.daemon.StartDaemon()
	eventually(t, "nothing is left", func() bool { return len(r.daemon.Containers()) == 0 })
	r.gone()
	check(t, next.Close())
	check(t, os.MkdirAll(r.stateDir(), 0o700))
}

// The daemon hangs under a running sandbox, which ends in time all the same.
func TestDaemonHangsUnderSandbox(t *testing.T) {
	r := realRig(t)
	e := r.open(r.daemon.Socket, 3*time.Second)
	r.Engine, e = e, r.Engine
	b := r.create("stuck", r.policy(hostRoot))
	r.daemon.Freeze()
	began := time.Now()
	var unavailable *UnavailableError
	if err := r.Remove(t.Context(), "stuck"); !errors.As(err, &unavailable) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	check(t, pidfd.Wait(b.Pidfd))
	r.daemon.Thaw()
	eventually(t, "nothing is left", func() bool { return len(r.daemon.Containers()) == 0 })
	eventually(t, "its directory is gone", func() bool {
		ids, err := r.recordedIDs()
		return err == nil && len(ids) == 0
	})
	r.gone()
	check(t, r.Close())
	check(t, os.MkdirAll(r.stateDir(), 0o700))
	r.Engine = e
}

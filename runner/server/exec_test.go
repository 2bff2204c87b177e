package server_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// stdio are three pipes with the command's ends as a client would send them.
type stdio struct{ theirs, ours [3]*os.File }

func newStdio(t testing.TB) *stdio {
	t.Helper()
	s := &stdio{}
	for i := range 3 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		ends := []*os.File{os.NewFile(uintptr(fds[0]), "read"), os.NewFile(uintptr(fds[1]), "write")}
		theirs := min(i, 1)
		s.theirs[i], s.ours[i] = ends[theirs], ends[1-theirs]
	}
	t.Cleanup(func() {
		for i := range 3 {
			s.theirs[i].Close()
			s.ours[i].Close()
		}
	})
	return s
}

func shell(script string) api.ExecRequest {
	return api.ExecRequest{Policy: api.DefaultPolicy, Argv: [][]byte{[]byte("/bin/sh"), []byte("-c"), []byte(script)}}
}

// sendExec asks for a command on these descriptors and drops our copies of
// them. Tests of other kinds replace an end first.
func (s *stdio) sendExec(t testing.TB, wire *api.Conn, request api.ExecRequest) {
	t.Helper()
	err := wire.Send(api.Request{Route: api.RouteExec, Body: body(t, request)},
		int(s.theirs[0].Fd()), int(s.theirs[1].Fd()), int(s.theirs[2].Fd()))
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range s.theirs {
		end.Close()
	}
}

func TestExecRunsOnTheCallersPipesAsThePeerOfTheKernel(t *testing.T) {
	host := &servertest.Host{}
	_, sockets := servertest.Serve(t, server.Options{Backend: host})
	_, wire := connect(t, sockets.Exec)
	pipes := newStdio(t)
	pipes.sendExec(t, wire, shell("echo out; exit 3"))
	if event := receive(t, wire); event.Type != api.EventStarted || event.ID == "" {
		t.Fatalf("first event %+v", event)
	}
	event := receive(t, wire)
	if event.Type != api.EventExited || event.Result.ExitCode != 3 {
		t.Fatalf("last event %+v", event)
	}
	if out, err := io.ReadAll(pipes.ours[1]); err != nil || string(out) != "out\n" {
		t.Errorf("stdout %q, %v", out, err)
	}
	want := server.Peer{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid())}
	if peers := host.Peers(); len(peers) != 1 || peers[0] != want {
		t.Errorf("peers %+v, want %+v", peers, want)
	}
	if _, err := wire.Receive(new(api.Event)); err != io.EOF {
		t.Errorf("after the last message: %v, want the end", err)
	}
}

func TestStdioIsAnonymousPipesOfTheRightDirectionOnly(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	memory, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	both := newStdio(t) // its own pipes are opened again in other ways
	proc := fmt.Sprintf("/proc/self/fd/%d", both.ours[1].Fd())
	for name, test := range map[string]struct {
		index int
		file  *os.File
		words string
	}{
		"terminal":       {0, open(t, "/dev/ptmx", unix.O_RDONLY), "stdin is not an anonymous pipe"},
		"null device":    {1, open(t, "/dev/null", unix.O_WRONLY), "stdout is not an anonymous pipe"},
		"regular file":   {1, open(t, "/proc/self/exe", unix.O_RDONLY), "stdout is not an anonymous pipe"},
		"directory":      {2, open(t, "/", unix.O_RDONLY), "stderr is not an anonymous pipe"},
		"socket":         {0, os.NewFile(uintptr(pair[0]), "socket"), "stdin is not an anonymous pipe"},
		"named pipe":     {0, open(t, fifo, unix.O_RDONLY|unix.O_NONBLOCK), "stdin is not an anonymous pipe"},
		"memfd":          {2, os.NewFile(uintptr(memory), "memfd"), "stderr is not an anonymous pipe"},
		"O_PATH":         {1, open(t, proc, unix.O_PATH), "stdout is an O_PATH descriptor"},
		"read and write": {1, open(t, proc, unix.O_RDWR), "stdout is the wrong end"},
		"write as read":  {0, open(t, proc, unix.O_WRONLY), "stdin is the wrong end"},
		"read as write":  {2, open(t, proc, unix.O_RDONLY|unix.O_NONBLOCK), "stderr is the wrong end"},
	} {
		t.Run(name, func(t *testing.T) {
			_, wire := connect(t, sockets.Exec)
			pipes := newStdio(t)
			pipes.theirs[test.index].Close()
			pipes.theirs[test.index] = test.file
			pipes.sendExec(t, wire, shell("echo ran"))
			wantError(t, wire, api.CodeBadRequest, test.words)
		})
	}
	_, wire := connect(t, sockets.Exec)
	pipes := newStdio(t)
	pipes.theirs[1].Close()
	pipes.theirs[1] = open(t, proc, unix.O_WRONLY)
	pipes.sendExec(t, wire, shell("echo ran"))
	if event := receive(t, wire); event.Type != api.EventStarted {
		t.Errorf("positive control, a pipe opened again for writing: %+v", event)
	}
}

func open(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	file := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { file.Close() })
	return file
}

func TestExecRequestsThatCannotRunAreRefused(t *testing.T) {
	host := &servertest.Host{}
	_, sockets := servertest.Serve(t, server.Options{Backend: host})
	long := bytes.Repeat([]byte("x"), 32*4096)
	const secret = "hunter2"
	for name, test := range map[string]struct {
		change func(*api.ExecRequest)
		words  string
	}{
		"no command":         {func(r *api.ExecRequest) { r.Argv = nil }, "there is no command"},
		"empty command":      {func(r *api.ExecRequest) { r.Argv = [][]byte{{}} }, "there is no command"},
		"NUL in argument":    {func(r *api.ExecRequest) { r.Argv[2] = []byte("a\x00b") }, "argument 2 holds a NUL"},
		"1 MiB argument":     {func(r *api.ExecRequest) { r.Argv[1] = bytes.Repeat(long, 8) }, "argument 1 is 1048576 bytes, and at most 131071"},
		"2 MiB of arguments": {func(r *api.ExecRequest) { r.Argv = repeat(long[:100000], 21) }, "at most 2097152"},
		"NUL in environment": {func(r *api.ExecRequest) { r.Env = [][]byte{[]byte("A=" + secret + "\x00")} }, "environment variable 0 holds a NUL"},
		"variable, no name":  {func(r *api.ExecRequest) { r.Env = [][]byte{[]byte("=" + secret)} }, "environment variable 0 has no name"},
		"variable, no value": {func(r *api.ExecRequest) { r.Env = [][]byte{[]byte(secret)} }, "environment variable 0 has no name"},
		"relative directory": {func(r *api.ExecRequest) { r.Cwd = "../x" }, "cannot be"},
		"NUL in directory":   {func(r *api.ExecRequest) { r.Cwd = "/x\x00y" }, "cannot be"},
		"no policy":          {func(r *api.ExecRequest) { r.Policy = "" }, "policy name"},
		"terminal in policy": {func(r *api.ExecRequest) { r.Policy = "p\x1b[2J" }, `\x1b[2J`},
		"newline in sender":  {func(r *api.ExecRequest) { r.Sender = "telegram:1\n" }, "sender"},
		"long channel":       {func(r *api.ExecRequest) { r.Channel = strings.Repeat("x", 1<<12) }, "channel"},
		"escape in call":     {func(r *api.ExecRequest) { r.Call = "\x1b[1m" }, "call"},
		"newline in session": {func(r *api.ExecRequest) { r.Session = "a\nb" }, "session name"},
		"negative timeout":   {func(r *api.ExecRequest) { r.Timeout = -1 }, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, wire := connect(t, sockets.Exec)
			request := shell("true")
			test.change(&request)
			newStdio(t).sendExec(t, wire, request)
			event := receive(t, wire)
			if event.Error == nil {
				t.Fatalf("event %+v", event)
			}
			checkError(t, event.Error, api.CodeBadRequest, test.words)
			if strings.Contains(fmt.Sprint(event.Error), secret) {
				t.Errorf("the message holds a value: %v", event.Error)
			}
		})
	}
	if peers := host.Peers(); len(peers) != 0 {
		t.Errorf("%d refused requests reached the backend", len(peers))
	}
	_, wire := connect(t, sockets.Exec)
	request := shell("true")
	request.Argv = append(request.Argv, long[:len(long)-1])
	newStdio(t).sendExec(t, wire, request)
	if event := receive(t, wire); event.Type != api.EventStarted {
		t.Errorf("positive control, the longest argument there can be: %+v", event)
	}
}

func repeat(argument []byte, n int) [][]byte {
	var all [][]byte
	for range n {
		all = append(all, argument)
	}
	return all
}

func TestBackendErrorsReachTheCallerAsTheyAre(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	for policy, want := range map[string][]string{
		servertest.DeniedPolicy:  {api.CodeDenied, "the policy is not for you", "ask its owner"},
		servertest.UnknownPolicy: {api.CodeInternal, "there is no such policy", "journalctl -u creeld"},
	} {
		_, wire := connect(t, sockets.Exec)
		request := shell("true")
		request.Policy = policy
		newStdio(t).sendExec(t, wire, request)
		wantError(t, wire, want[0], want[1:]...)
	}
}

func TestCallerGoneEndsTheInvocationThoughControlsWait(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 1)}
	_, sockets := servertest.Serve(t, server.Options{Backend: host})
	conn, wire := connect(t, sockets.Exec)
	pipes := newStdio(t)
	pipes.sendExec(t, wire, shell("trap '' USR1; echo; while :; do sleep 1000; done"))
	if _, err := pipes.ours[1].Read(make([]byte, 1)); err != nil { // the trap is set
		t.Fatal(err)
	}
	for range 20 {
		if err := wire.Send(api.Control{Signal: int(unix.SIGUSR1)}); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	if cause := <-host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
}

func TestBadControlEndsThatInvocationAlone(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 1)}
	_, sockets := servertest.Serve(t, server.Options{Backend: host, RequestTimeout: time.Second})
	_, bystander := connect(t, sockets.Exec)
	newStdio(t).sendExec(t, bystander, shell("exec sleep 1000"))
	receive(t, bystander)
	for name, test := range map[string]struct{ frame, words string }{
		"neither":        {`{}`, "either a signal or a size"},
		"both":           {`{"signal":2,"resize":{"rows":1,"cols":1}}`, "either a signal or a size"},
		"signal 65":      {`{"signal":65}`, "no signal 65"},
		"negative":       {`{"signal":-1}`, "no signal -1"},
		"unknown key":    {`{"stdin":"x"}`, "unknown key"},
		"over its bound": {`{"signal":2` + strings.Repeat(" ", api.MaxControl) + `}`, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, wire := connect(t, sockets.Exec)
			newStdio(t).sendExec(t, wire, shell("exec sleep 1000"))
			receive(t, wire)
			if _, err := conn.Write(rawFrame([]byte(test.frame))); err != nil {
				t.Fatal(err)
			}
			wantError(t, wire, api.CodeBadRequest, test.words)
			if cause := <-host.Causes; cause != server.ErrCallerGone {
				t.Errorf("cause %v", cause)
			}
		})
	}
	t.Run("unfinished", func(t *testing.T) {
		conn, wire := connect(t, sockets.Exec)
		newStdio(t).sendExec(t, wire, shell("exec sleep 1000"))
		receive(t, wire)
		conn.Write([]byte{0})
		wantError(t, wire, api.CodeBadRequest, "in time")
		<-host.Causes
	})
	if err := bystander.Send(api.Control{Signal: int(unix.SIGTERM)}); err != nil {
		t.Fatal(err)
	}
	if event := receive(t, bystander); event.Type != api.EventExited || event.Result.Signal != int(unix.SIGTERM) {
		t.Errorf("the bystander ended with %+v", event)
	}
}

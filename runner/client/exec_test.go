package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func serve(t testing.TB, host *servertest.Host) *client.Client {
	t.Helper()
	_, sockets := servertest.Serve(t, server.Options{Backend: host})
	return &client.Client{ExecSocket: sockets.Exec, AdminSocket: sockets.Admin}
}

func shell(script string) api.ExecRequest {
	return api.ExecRequest{Policy: api.DefaultPolicy, Argv: [][]byte{[]byte("/bin/sh"), []byte("-c"), []byte(script)}}
}

func TestExecReturnsResultAndSeparateStreams(t *testing.T) {
	c := serve(t, &servertest.Host{})
	var stdout, stderr bytes.Buffer
	started := ""
	result, err := c.Exec(t.Context(), &client.Exec{
		Request: shell("cat; echo err >&2; exit 7"), Stdin: strings.NewReader("in\x00\xff"),
		Stdout: &stdout, Stderr: &stderr, Started: func(id string) { started = id },
	})
	if err != nil {
		t.Fatal(err)
	}
	if result.ExitCode != 7 || result.Reason != api.ReasonExited || result.ID == "" || started != result.ID {
		t.Errorf("result %+v, started %q", result, started)
	}
	if stdout.String() != "in\x00\xff" || stderr.String() != "err\n" {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
}

func TestOneWriterForBothStreamsKeepsTheirOrder(t *testing.T) {
	c := serve(t, &servertest.Host{})
	var both bytes.Buffer
	script := "i=0; while [ $i -lt 200 ]; do echo $i; echo $i >&2; i=$((i+1)); done"
	if _, err := c.Exec(t.Context(), &client.Exec{Request: shell(script), Stdout: &both, Stderr: &both}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(both.String())
	if len(lines) != 400 {
		t.Fatalf("%d lines, want 400", len(lines))
	}
	for i := 0; i < len(lines); i += 2 {
		if lines[i] != lines[i+1] {
			t.Fatalf("line %d is %s, and %s follows", i, lines[i], lines[i+1])
		}
	}
}

func TestRandomBytesPassUnharmedByBufferPipeAndFile(t *testing.T) {
	data := make([]byte, 5<<20+3)
	rand.Read(data)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	appended, err := os.OpenFile(t.TempDir()+"/a", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600) // splice refuses O_APPEND
	if err != nil {
		t.Fatal(err)
	}
	defer appended.Close()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var buffer, piped bytes.Buffer
	copied := make(chan error, 1)
	go func() { _, err := io.Copy(&piped, read); copied <- err }()
	c := serve(t, &servertest.Host{})
	for _, out := range []io.Writer{&buffer, file, appended, write} {
		request := api.ExecRequest{Policy: "p", Argv: [][]byte{[]byte("cat")}}
		if _, err := c.Exec(t.Context(), &client.Exec{Request: request, Stdin: bytes.NewReader(data), Stdout: out}); err != nil {
			t.Fatalf("%T: %v", out, err)
		}
	}
	write.Close()
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	fromFile, _ := os.ReadFile(file.Name())
	fromAppended, _ := os.ReadFile(appended.Name())
	for name, got := range map[string][]byte{"buffer": buffer.Bytes(), "file": fromFile, "O_APPEND": fromAppended, "pipe": piped.Bytes()} {
		if sha256.Sum256(got) != sha256.Sum256(data) {
			t.Errorf("%s: %d bytes, not the %d that were sent", name, len(got), len(data))
		}
	}
}

func TestCancelledExecEndsTheCommand(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 1)}
	c := serve(t, host)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	_, err := c.Exec(ctx, &client.Exec{Request: shell("exec sleep 1000"), Started: func(string) { cancel(reason) }})
	if err != reason {
		t.Errorf("error %v, want %v", err, reason)
	}
	if cause := <-host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
}

func TestCancelledExecReturnsThoughItsOutputIsStuck(t *testing.T) {
	c := serve(t, &servertest.Host{})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	ctx, cancel := context.WithCancel(t.Context())
	full := make(chan struct{})
	go func() { // the first byte shows that the copying is under way
		read.Read(make([]byte, 1))
		close(full)
	}()
	go func() { <-full; cancel() }()
	if _, err := c.Exec(ctx, &client.Exec{Request: shell("yes"), Stdout: write}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestUnreadableStdinIsAnErrorAndNotAnEnd(t *testing.T) {
	c := serve(t, &servertest.Host{})
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	var input *client.InputError
	if _, err := c.Exec(t.Context(), &client.Exec{Request: shell("exec sleep 1000"), Stdin: dir}); !errors.As(err, &input) {
		t.Errorf("error %v, want an InputError", err)
	}
}

func TestFullDiskIsAnErrorAndNotAnEnd(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c := serve(t, &servertest.Host{})
	var output *client.OutputError
	if _, err := c.Exec(t.Context(), &client.Exec{Request: shell("echo x"), Stdout: full}); !errors.As(err, &output) || output.Stream != "stdout" {
		t.Errorf("error %v, want an OutputError", err)
	}
}

func TestCommandThatIgnoresItsClosedStdoutIsEnded(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 1)}
	c := serve(t, host)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	read.Close()
	begin := time.Now()
	_, err = c.Exec(t.Context(), &client.Exec{Request: shell("trap '' PIPE; echo x; exec sleep 1000"), Stdout: write})
	if err != client.ErrStdoutClosed {
		t.Errorf("error %v, want ErrStdoutClosed", err)
	}
	if cause := <-host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// splice(2) does not tell of the end of its input while its output is full.
func TestEndIsNoticedThoughTheOutputIsFull(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 1)}
	c := serve(t, host)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), &client.Exec{Request: shell("head -c 100000 /dev/zero"), Stdout: write})
		write.Close()
		done <- err
	}()
	<-host.Causes // the command has ended, and 100000 bytes are more than a pipe holds
	if n, err := io.Copy(io.Discard, read); n != 100000 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPanicOfAWriterReachesTheCaller(t *testing.T) {
	c := serve(t, &servertest.Host{})
	defer func() {
		if recover() == nil {
			t.Error("the panic was lost")
		}
	}()
	c.Exec(t.Context(), &client.Exec{Request: shell("echo x"), Stdout: panicking{}})
}

type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("write") }

func TestExecLeavesNoDescriptorBehind(t *testing.T) {
	c := serve(t, &servertest.Host{})
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	run := func() {
		if _, err := c.Exec(t.Context(), &client.Exec{Request: shell("echo x; echo y >&2"), Stdout: io.Discard}); err != nil {
			t.Fatal(err)
		}
	}
	run()
	before := count()
	for range 50 {
		run()
	}
	// The server's end of the last connection may still be closing.
	if after := count(); after > before+5 {
		t.Errorf("%d descriptors after 50 more runs, %d before", after, before)
	}
}

func BenchmarkExecTrue(b *testing.B) {
	c := serve(b, &servertest.Host{})
	request := api.ExecRequest{Policy: "p", Argv: [][]byte{[]byte("/bin/true")}}
	for b.Loop() {
		if _, err := c.Exec(b.Context(), &client.Exec{Request: request}); err != nil {
			b.Fatal(err)
		}
	}
}

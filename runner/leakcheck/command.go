package leakcheck

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

// given is the place of all that creel gives its caller and its operator.
const given = "what creel prints"

// script is what runs in the sandbox: it prints the values, which is to be
// redacted, runs a command where there is one, says that it has, and waits to
// be let go. It puts no value in an argument: echo is a part of every shell.
func script(variables []string) string {
	var values strings.Builder
	for _, name := range variables {
		fmt.Fprintf(&values, "echo \"$%s\"; echo \"$%[1]s\" >&2\n", name)
	}
	return values.String() + `mark=$1; shift; status=0
[ $# = 0 ] || "$@" </dev/null || status=$?
echo; echo "$mark"; read -r _; exit $status`
}

// command is the invocation with the canary.
type command struct {
	started chan string   // its ID
	printed chan struct{} // closed when the script waits
	ended   chan struct{}
	result  *api.Result
	err     error
	release func() error // lets the script end
}

// begin starts the invocation. Its output is searched as it comes.
func begin(ctx context.Context, c *client.Client, policy string, argv, variables []string, canary Canary, n *notes) *command {
	run := &command{started: make(chan string, 1), printed: make(chan struct{}), ended: make(chan struct{})}
	mark := rand.Text()
	stdin, hold := io.Pipe()
	run.release = hold.Close
	request := api.ExecRequest{Policy: policy}
	for _, word := range append([]string{"sh", "-c", script(variables), "sh", mark}, argv...) {
		request.Argv = append(request.Argv, []byte(word))
	}
	n.expect(given, "answers")
	exec := &client.Exec{
		Request: request, Stdin: stdin,
		Stdout:  listen(ctx, n, "stdout", canary, variables, mark, run.printed),
		Stderr:  listen(ctx, n, "stderr", canary, variables, "", nil),
		Started: func(id string) { run.started <- id },
	}
	go func() {
		defer close(run.ended)
		run.result, run.err = c.ExecCanary(ctx, exec, string(canary))
	}()
	return run
}

// listener searches one stream of output.
type listener struct {
	notes  *notes
	stream string
	sought *sought

	mu   sync.Mutex
	tail []byte
	want map[string]func() // texts that are to come
}

// listenTail is longer than anything that is looked for in output.
const listenTail = 512

func listen(ctx context.Context, n *notes, stream string, canary Canary, variables []string, mark string, marked chan struct{}) *listener {
	l := &listener{notes: n, stream: stream, sought: newSought(ctx, canary, canary), want: map[string]func(){}}
	for _, name := range variables {
		text := "[redacted:" + name + "]"
		control := text + " on " + stream
		n.expect(given, "answers", control)
		l.want[text] = func() { n.found(given, control) }
	}
	if mark != "" {
		l.want[mark] = func() { close(marked) }
	}
	return l
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	data := append(l.tail, p...)
	l.notes.leak(given, "the command's "+l.stream, process{}, l.sought.in(data))
	for text, act := range l.want {
		if bytes.Contains(data, []byte(text)) {
			act()
			delete(l.want, text)
		}
	}
	l.tail = bytes.Clone(data[max(0, len(data)-listenTail):])
	return len(p), nil
}

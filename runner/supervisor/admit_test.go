package supervisor

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/server"
)

// admitting is a supervisor that can admit and do nothing else.
func admitting(t *testing.T) *Supervisor {
	t.Helper()
	r := &rig{t: t, workspace: "/srv/workspace"}
	declared, err := r.declare(map[string]string{
		"exec-default": "env: {FIXED: policy}\ncredentials: [{env: TOKEN, from: \"exec:/bin/helper\"}]\n" +
			`callers: {users: ["0", "61234"]}`,
		"only-root": `callers: {users: ["0"]}`,
		"another":   `callers: {users: ["61236"]}`,
		"overdue":   "reviewBy: 2001-01-01",
		"no-user":   "user: no-such-user-of-this-host",
		"listed":    `callers: {users: ["0"], senders: [telegram:1, telegram:2], channels: [telegram:-100]}`,
		"senders":   `callers: {users: ["0"], senders: [telegram:1]}`,
		"docker":    "engine: docker\nuserNamespace: off\ncallers: {users: [\"61237\"]}",
	})
	check(t, err)
	s := &Supervisor{live: map[string]*invocation{}, cfg: Config{
		Engines: map[policy.Engine]engine.Engine{policy.EngineOCI: nil}, // to choose, not to use
	}}
	s.declared.Store(declared)
	return s
}

// A filter that is lost on the way is not taken for none that is wanted.
func TestCommandWithoutItsFilterIsRefused(t *testing.T) {
	s := admitting(t)
	ask := func() error {
		_, err := s.admit(server.Peer{}, &api.ExecRequest{Policy: "exec-default", Argv: [][]byte{[]byte("true")}}, server.Stdio{})
		return err
	}
	check(t, ask()) // the control
	for _, filter := range [][]byte{nil, {}} {
		s.declared.Load().Filters["exec-default"] = filter
		if told := asAPI(t, ask()); told.Code != "bad-policy" || !strings.Contains(told.Message, "exec-default") {
			t.Errorf("%v: %+v", filter, told)
		}
	}
}

// For whom and from where is told by the caller, compared letter by letter, and
// must be told where it is listed; whoever asks learns no more than that it was
// refused, and the log all.
func TestCommandIsRefusedForWhomThePolicyDoesNotList(t *testing.T) {
	s := admitting(t)
	var log bytes.Buffer
	s.cfg.Log = logrus.New()
	s.cfg.Log.SetOutput(&log)
	for _, c := range []struct {
		policy, sender, channel string
		refused                 string // the key that refuses it; empty: admitted
	}{
		{"listed", "telegram:1", "telegram:-100", ""},
		{"listed", "telegram:2", "telegram:-100", ""},
		{"senders", "telegram:1", "", ""},
		{"senders", "telegram:1", "discord:7", ""},
		{"only-root", "", "", ""},
		{"only-root", "telegram:666", "discord:7", ""},
		{"listed", "telegram:3", "telegram:-100", "callers.senders"},
		{"listed", "telegram:1", "telegram:-200", "callers.channels"},
		{"listed", "telegram:1", "", "callers.channels"},
		{"listed", "", "telegram:-100", "callers.senders"},
		{"listed", "", "", "callers.senders"},
		{"listed", "telegram:-100", "telegram:1", "callers.senders"},
		{"listed", "Telegram:1", "telegram:-100", "callers.senders"},
		{"listed", "telegram:1 ", "telegram:-100", "callers.senders"},
		{"listed", "telegram:1,telegram:2", "telegram:-100", "callers.senders"},
		{"senders", "telegram:*", "", "callers.senders"},
		{"senders", "telegram:", "", "callers.senders"},
		{"senders", "discord:1", "", "callers.senders"},
	} {
		log.Reset()
		_, err := s.admit(server.Peer{UID: 0}, &api.ExecRequest{Policy: c.policy, Sender: c.sender, Channel: c.channel, Call: "call-7", Argv: [][]byte{[]byte("true")}}, server.Stdio{})
		if c.refused == "" {
			if err != nil || log.Len() > 0 {
				t.Errorf("%+v: %v, logged %q", c, err, &log)
			}
			continue
		}
		var told *api.Error
		if !errors.As(err, &told) || told.Code != api.CodeDenied || told.Message != "refused" || told.Hint != "" || len(told.Details) > 0 {
			t.Errorf("%+v: told %+v", c, err)
		}
		for _, word := range []string{c.refused, "policy=" + c.policy, "call=call-7", "caller=root"} {
			if !strings.Contains(log.String(), word) {
				t.Errorf("%+v: %q is not in the log: %s", c, word, &log)
			}
		}
	}
}

func TestCallerRunsOnlyThePoliciesThatNameIt(t *testing.T) {
	s := admitting(t)
	for _, c := range []struct {
		uid    uint32
		policy string
		hint   string // of the refusal; empty: admitted
	}{
		{0, "exec-default", ""},
		{61234, "exec-default", ""},
		{0, "only-root", ""},
		{61234, "only-root", "you may run: exec-default"},
		{0, "another", "you may run: exec-default, listed, no-user, only-root, overdue, senders"},
		{61234, "no-such-policy", "you may run: exec-default"},
		{61235, "exec-default", `add "61235" to callers.users`},
		{61235, "no-such-policy", `add "61235" to callers.users`},
	} {
		inv, err := s.admit(server.Peer{UID: c.uid}, &api.ExecRequest{Policy: c.policy, Argv: [][]byte{[]byte("true")}}, server.Stdio{})
		if c.hint == "" {
			if err != nil || inv.policy.Name != c.policy || inv.who.UID != nobody || inv.filter == nil {
				t.Errorf("uid %d, %s: %v", c.uid, c.policy, err)
			}
			continue
		}
		if told := asAPI(t, err); told.Code != api.CodeDenied || told.ExitCode != api.ExitFailed || !strings.HasPrefix(told.Hint, c.hint) {
			t.Errorf("uid %d, %s: %+v", c.uid, c.policy, told)
		}
	}
	// Whether a policy exists is not told to who may not run it.
	_, exists := s.admit(server.Peer{UID: 61235}, &api.ExecRequest{Policy: "only-root"}, server.Stdio{})
	_, missing := s.admit(server.Peer{UID: 61235}, &api.ExecRequest{Policy: "only-toot"}, server.Stdio{})
	if strings.Replace(missing.Error(), "toot", "root", 1) != exists.Error() {
		t.Errorf("%q and %q", exists, missing)
	}
	if reply, err := s.Policies(t.Context(), server.Peer{UID: 61234}); err != nil || !slices.Equal(reply.Policies, []string{"exec-default"}) {
		t.Errorf("policies of 61234: %v, %v", reply, err)
	}
}

func TestUnusablePolicyIsRefused(t *testing.T) {
	s := admitting(t)
	request := func(name string) *api.ExecRequest {
		return &api.ExecRequest{Policy: name, Argv: [][]byte{[]byte("true")}}
	}
	_, err := s.admit(server.Peer{}, request("no-user"), server.Stdio{})
	if told := asAPI(t, err); told.Code != "bad-policy" || !strings.Contains(told.Message, "no-such-user-of-this-host") || told.Hint == "" {
		t.Errorf("a user that is not: %+v", told)
	}
	for _, declared := range []string{"root", "0:61234", "61234:0", "61234:x", ":", "99999999999:1"} {
		if who, _, err := identify(declared); err == nil {
			t.Errorf("%s: becomes %+v", declared, who)
		}
	}
	if _, err := s.admit(server.Peer{}, request("overdue"), server.Stdio{}); err != nil {
		t.Errorf("an overdue review without strict: %v", err)
	}
	_, err = s.admit(server.Peer{UID: 61237}, request("docker"), server.Stdio{})
	if told := asAPI(t, err); told.Code != "no-engine" || !strings.Contains(told.Message, "docker") {
		t.Errorf("an engine that is not here: %+v", told)
	}
	strict := *s.declared.Load()
	strict.Config = policy.DefaultConfig()
	strict.Config.Strict = true
	s.declared.Store(&strict)
	_, err = s.admit(server.Peer{}, request("overdue"), server.Stdio{})
	if told := asAPI(t, err); told.Code != "bad-policy" || !strings.Contains(told.Message, "overdue") {
		t.Errorf("an overdue review with strict: %+v", told)
	}
	if _, err := s.admit(server.Peer{}, request("only-root"), server.Stdio{}); err != nil {
		t.Errorf("control with strict: %v", err)
	}
}

func TestRequestCannotOverrideThePolicy(t *testing.T) {
	s := admitting(t)
	for _, c := range []struct {
		cwd, env string
		refused  bool
	}{
		{"", "", false},
		{"/workspace", "OTHER=x", false},
		{"/process", "FIXEDX=x", false},
		{"/proc", "", true},
		{"/proc/self/fd/7", "", true}, // CVE-2024-21626
		{"/workspace/../proc/1", "", true},
		{"//proc//self", "", true},
		{"", "FIXED=x", true},
		{"", "TOKEN=x", true},
		{"", "TOKEN=", true},
		{"", "LD_PRELOAD=/workspace/x.so", true},
		{"", "NODE_OPTIONS=--require=/workspace/x.js", true},
		{"", "BASH_FUNC_ls%%=() { :; }", true},
		{"", "GIT_SSH_COMMAND=x", true},
		{"", "A B=x", true},
		{"", "LDFLAGS=-lm", false},
		{"", "NODE_PATH=/workspace", false},
	} {
		req := &api.ExecRequest{Policy: "exec-default", Argv: [][]byte{[]byte("true")}, Cwd: c.cwd}
		if c.env != "" {
			req.Env = [][]byte{[]byte(c.env)}
		}
		_, err := s.admit(server.Peer{}, req, server.Stdio{})
		if (err != nil) != c.refused {
			t.Errorf("cwd %q, env %q: %v", c.cwd, c.env, err)
		} else if c.refused && (asAPI(t, err).Code != api.CodeBadRequest || asAPI(t, err).Hint == "") {
			t.Errorf("cwd %q, env %q: %+v", c.cwd, c.env, err)
		}
	}
}

func TestInvocationsAreBounded(t *testing.T) {
	s := admitting(t)
	of := func(uid uint32) *invocation { return &invocation{id: newID(), peer: server.Peer{UID: uid}} }
	for range maxPerCaller {
		check(t, s.enter(of(1), nil))
	}
	if told := asAPI(t, s.enter(of(1), nil)); told.Code != api.CodeBusy {
		t.Errorf("one too many of a caller: %+v", told)
	}
	for range maxInvocations - maxPerCaller {
		check(t, s.enter(of(2), nil))
	}
	if told := asAPI(t, s.enter(of(3), nil)); told.Code != api.CodeBusy {
		t.Errorf("one too many: %+v", told)
	}
	for id := range s.live {
		s.leave(s.live[id])
	}
	if len(s.live) != 0 || len(s.ended) != keptEnded {
		t.Errorf("%d live, %d ended are kept", len(s.live), len(s.ended))
	}
	check(t, s.enter(&invocation{id: newID()}, nil))
	s.closed = true
	if err := s.enter(&invocation{id: newID()}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("while closing: %v", err)
	}
}

func TestEnvironmentPrecedence(t *testing.T) {
	inv := &invocation{
		who:    rootfs.Identity{Name: "openclaw"},
		policy: &policy.Policy{Env: []policy.EnvVar{{Name: "LANG", Value: "C"}, {Name: "HOME", Value: "/policy"}, {Name: "EMPTY"}}},
		req:    &api.ExecRequest{Env: [][]byte{[]byte("PATH=/caller"), []byte("A=1"), []byte("A=2=3")}},
	}
	got := string(bytes.Join(environment(inv), []byte("|")))
	want := "USER=openclaw|LOGNAME=openclaw|LANG=C|HOME=/policy|EMPTY=|PATH=/caller|A=2=3"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCommandLineIsCutForPeople(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want string
	}{
		{[]string{"ls", "-l"}, "ls -l"},
		{[]string{"a\xffb"}, "a\ufffdb"},
		{[]string{strings.Repeat("x", 200)}, strings.Repeat("x", 200)},
		{[]string{strings.Repeat("x", 201)}, strings.Repeat("x", 200) + "…"},
		{[]string{strings.Repeat("x", 199) + "ü"}, strings.Repeat("x", 199) + "…"},
		{[]string{strings.Repeat("x", 198) + "üy"}, strings.Repeat("x", 198) + "ü…"},
	} {
		var argv [][]byte
		for _, arg := range c.argv {
			argv = append(argv, []byte(arg))
		}
		if got := commandLine(argv); got != c.want {
			t.Errorf("%q: got %q", c.argv, got)
		}
	}
}

func TestShorterTimeLimitCounts(t *testing.T) {
	for _, c := range []struct {
		policy, asked time.Duration
		ends          bool
	}{
		{0, 0, false}, {time.Nanosecond, 0, true}, {0, time.Nanosecond, true},
		{time.Nanosecond, time.Hour, true}, {time.Hour, time.Nanosecond, true},
	} {
		limit, stop := timeLimit(&invocation{policy: &policy.Policy{Limits: policy.Limits{Timeout: c.policy}}, req: &api.ExecRequest{Timeout: c.asked}})
		if !c.ends && limit != nil {
			t.Errorf("%v: a limit", c)
		}
		if c.ends {
			select {
			case <-limit:
			case <-time.After(10 * time.Second):
				t.Errorf("%v: the longer one counts", c)
			}
		}
		stop()
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	tl := newTail(10)
	all := func() (text string) {
		check(t, tl.read(context.Background(), false, func(c api.LogChunk) error { text += c.Stream + ":" + string(c.Data) + " "; return nil }))
		return text
	}
	out, errs := tl.stream("stdout"), tl.stream("stderr")
	for _, w := range []struct {
		to   string
		text string
		want string
	}{
		{"stdout", "abcd", "stdout:abcd "},
		{"stderr", "efgh", "stdout:abcd stderr:efgh "},
		{"stdout", "ijk", "stderr:efgh stdout:ijk "},
		{"stdout", "0123456789ABC", "stdout:3456789ABC "},
	} {
		to := out
		if w.to == "stderr" {
			to = errs
		}
		if n, err := to.Write([]byte(w.text)); n != len(w.text) || err != nil {
			t.Errorf("write %q: %d, %v", w.text, n, err)
		}
		if got := all(); got != w.want {
			t.Errorf("after %q: %q, want %q", w.text, got, w.want)
		}
	}
}

// A follower sees what comes, misses what was dropped while it was slow, and
// ends with the invocation, its own context or its own error.
func TestFollowersOfATail(t *testing.T) {
	tl := newTail(4)
	out := tl.stream("stdout")
	_, _ = out.Write([]byte("old"))
	seen, proceed, done := make(chan string), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- tl.read(context.Background(), true, func(c api.LogChunk) error { seen <- string(c.Data); <-proceed; return nil })
	}()
	if got := <-seen; got != "old" {
		t.Errorf("first: %q", got)
	}
	for _, text := range []string{"aaaa", "bbbb", "cccc"} { // while it is busy
		_, _ = out.Write([]byte(text))
	}
	proceed <- struct{}{}
	if got := <-seen; got != "cccc" {
		t.Errorf("a slow follower gets %q", got)
	}
	tl.close()
	proceed <- struct{}{}
	if err := <-done; err != nil {
		t.Errorf("end: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	open := newTail(4)
	go func() { done <- open.read(ctx, true, func(api.LogChunk) error { return nil }) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := tl.read(context.Background(), true, func(api.LogChunk) error { return errInjected }); !errors.Is(err, errInjected) {
		t.Errorf("a follower that fails: %v", err)
	}
}

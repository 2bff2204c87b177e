package openclaw

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/creel-sandbox/creel/integration/internet"
	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/leakcheck"
)

func TestMain(m *testing.M) {
	// In the tests' own network there is no registry.
	_ = shared.Try(func() { Install(shared) })
	code := internet.Main(m)
	shared.End()
	if len(shared.Failures()) > 0 {
		code = 1
	}
	os.Exit(code)
}

// stage is OpenClaw as an agent, creeld and the stand-ins, which all tests share, since
// OpenClaw takes long to start.
type stage struct {
	*testrig.Rig
	claw      *OpenClaw
	model     *Model
	telegram  *Telegram
	net       *internet.Internet
	authority string              // a directory with what the stand-ins' certificates are signed by
	others    []*internet.Service // that the agent's policy does not name
	// redirected counts the requests that the provider sent to one of these.
	redirected *atomic.Int32
	// What must never be seen: the gateway's token, the provider's key, the
	// bot's token, and what commands get.
	canaries map[string]leakcheck.Canary
	// seen has the call of each sandbox that a test looked at, by its ID.
	seen map[string]string
}

var (
	shared = &testrig.Lasting{Prefix: "openclaw: "}
	once   = sync.OnceValue(setUp)
)

// start gives the shared stage, with OpenClaw running.
func start(t testing.TB) *stage {
	t.Helper()
	s := prepare(t)
	if !s.claw.Running() {
		s.startAgent()
	}
	own := *s
	own.Rig = s.For(t)
	return &own
}

// prepare gives the shared stage itself, where OpenClaw need not run.
func prepare(t testing.TB) *stage {
	t.Helper()
	s := once()
	if s == nil {
		t.Fatal("the stage could not be set up; see above")
	}
	s.claw.t = t
	t.Cleanup(func() { s.claw.t = shared })
	return s
}

func setUp() (s *stage) {
	_ = shared.Try(func() { s = newStage() })
	return s
}

// credential is what each command of the policy gets; two sandboxes wait, since
// a file tool uses some fifteen.
const credential = "credentials: [{env: DEPLOY_TOKEN, from: 'systemd:deploy'}]\npool: {warm: 2}\n"

func newStage() *stage {
	s := &stage{model: &Model{}, redirected: &atomic.Int32{}, canaries: map[string]leakcheck.Canary{}, seen: map[string]string{}}
	for _, name := range []string{"openclaw-gateway-token", "provider-key", "bot-token", "deploy"} {
		s.canaries[name] = leakcheck.NewCanary()
	}
	s.telegram = NewTelegram("4242:" + string(s.canaries["bot-token"]))
	credentials, err := os.MkdirTemp("/tmp", "creel-credentials-")
	check(shared, err)
	shared.Cleanup(func() { check(shared, os.RemoveAll(credentials)) })
	for name, value := range s.canaries {
		if name == "bot-token" {
			value = leakcheck.Canary(s.telegram.Token)
		}
		check(shared, os.WriteFile(filepath.Join(credentials, name), []byte(value), 0o400))
	}
	s.net = internet.New(shared) // before creeld, which then asks the name server there
	s.Rig = testrig.Start(shared, testrig.Options{Env: []string{"CREDENTIALS_DIRECTORY=" + credentials}, Policy: credential})
	// OpenClaw takes a workspace that has become empty for lost.
	check(shared, os.WriteFile(filepath.Join(s.Workspace, "AGENTS.md"), []byte("Be kind.\n"), 0o644))
	CopyPlugin(shared, s.Dir+"/plugin", testrig.User)
	s.serve()
	s.claw = New(shared, Options{Dir: s.Dir + "/claw", Seen: "/state", UID: testrig.User, GID: testrig.User, Token: string(s.canaries["openclaw-gateway-token"]),
		Config: s.config(map[string]any{"program": "/creel/creel"})})
	check(shared, os.Mkdir(s.claw.Dir+"/logs", 0o700))
	check(shared, os.Chown(s.claw.Dir+"/logs", testrig.User, testrig.User))
	return s
}

// config is laid over what is shipped: the stand-ins, and how to call creel.
func (s *stage) config(creel map[string]any) map[string]any {
	config := StandIn(providers())
	lay(config, map[string]any{
		// As it is where nobody says otherwise: who speaks while the model works
		// for another is heard at once.
		"messages": map[string]any{"queue": map[string]any{"mode": "steer"}},
		"channels": map[string]any{"telegram": bot()},
		"plugins": map[string]any{
			"allow":   []any{"creel", "telegram"},
			"entries": map[string]any{"creel": map[string]any{"config": creel}},
		},
	})
	return config
}

// onHost is laid over what is shipped for an OpenClaw that is a process of the
// host, as README says.
func (s *stage) onHost(log string) map[string]any {
	return map[string]any{
		"logging": map[string]any{"file": log},
		"agents":  map[string]any{"defaults": map[string]any{"workspace": s.Workspace}},
		"plugins": map[string]any{"load": map[string]any{"paths": []any{s.Dir + "/plugin"}}},
	}
}

// usual puts the policy in force that most tests use.
func (s *stage) usual() {
	s.WritePolicy("exec-default", s.PolicyText("exec-default", credential))
	s.Reload()
}

// do has the model make a call in a session of its own, and gives what the
// model is told of it.
func (s *stage) do(t testing.TB, tool string, args map[string]any) (Call, string) {
	t.Helper()
	return s.doIn(t, "session-"+rand.Text()[:8], tool, args)
}

func (s *stage) doIn(t testing.TB, session, tool string, args map[string]any) (Call, string) {
	t.Helper()
	call := NewCall(tool, args)
	answer := s.claw.Ask(session, call.Message())
	result, ok := s.model.Result(call)
	if !ok {
		t.Fatalf("the model was told nothing of the call; OpenClaw answered %q\n%s", answer, s.claw.Log())
	}
	return call, result
}

// sh is the arguments of the exec tool.
func sh(format string, args ...any) map[string]any {
	return map[string]any{"command": fmt.Sprintf(format, args...)}
}

// of gives the sandboxes of a call, the newest first.
func (s *stage) of(call Call) (found []testrig.Sandbox) {
	for _, one := range s.List("-a") {
		if one.Call == call.ID {
			found = append(found, one)
		}
	}
	return found
}

// origin is under what policy a call's sandboxes are to be, and for whom.
type origin struct{ policy, sender, channel string }

// nobody is who speaks over the HTTP API.
var nobody = origin{policy: "exec-default"}

// by is somebody in a chat.
func by(sender, chat int64) origin {
	return origin{nobody.policy, fmt.Sprintf("telegram:%d", sender), fmt.Sprintf("telegram:%d", chat)}
}

// fresh wants that ps knows the sandboxes of a call, one of a command and some of
// a file tool, as of that origin, and that none of them was another call's.
func (s *stage) fresh(t testing.TB, call Call, from origin) []testrig.Sandbox {
	t.Helper()
	found := s.of(call)
	if len(found) == 0 || call.Tool == "exec" && len(found) != 1 {
		t.Fatalf("of the %s %s ps knows %d sandboxes: %+v", call.Tool, call.ID, len(found), found)
	}
	for _, one := range found {
		if got := (origin{one.Policy, one.Sender, one.Channel}); got != from {
			t.Errorf("the %s %s ran as %+v, want %+v", call.Tool, call.ID, got, from)
		}
		if other, ok := s.seen[one.ID]; one.ID == "" || ok && other != call.ID {
			t.Errorf("the sandbox %q of %s is also %s's", one.ID, call.ID, other)
		}
		s.seen[one.ID] = call.ID
	}
	return found
}

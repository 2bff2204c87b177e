package agent

import (
	"slices"
	"strings"
	"testing"
)

// speak asks a socket for a route as creel does (runner/api), and prints the
// answer.
const speak = `import json, socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/creel/exec.sock")
request = json.dumps({"route": sys.argv[1]}).encode()
s.sendall(struct.pack(">I", len(request)) + request)
size = struct.unpack(">I", s.recv(4, socket.MSG_WAITALL))[0]
print(s.recv(size, socket.MSG_WAITALL).decode())
`

// From inside, the agent runs commands of the policies that name its user, each
// in a sandbox of its own, and nothing else of creel's is in reach.
func TestAgentRunsCommandsAndReachesNothingElseOfCreel(t *testing.T) {
	onEachRuntime(t, options{}, func(t *testing.T, r *rig) {
		r.await("ready")
		r.WritePolicy("others", r.PolicyText("others", `callers: {users: ["0"]}`))
		r.Reload()
		code, printed := r.run(`/agent/creel exec --session s --sender test:1 --call c -- sh -c 'echo out; echo err >&2; ls /; ls /state; exit 7'`)
		if code != 7 || !strings.Contains(printed, "out") || !strings.Contains(printed, "err") || !strings.Contains(printed, "workspace") ||
			!strings.Contains(printed, "/state") || strings.Contains(printed, "agent.py") {
			t.Errorf("a command of the agent's: %d, %q", code, printed)
		}
		ended := r.List("-a")
		if len(ended) < 2 || ended[0].Policy != "exec-default" && ended[1].Policy != "exec-default" {
			t.Errorf("listed %+v", ended)
		}
		if code, printed = r.run(`echo given | /agent/creel exec -i -- cat`); code != 0 || printed != "given" {
			t.Errorf("its input: %d, %q", code, printed)
		}
		for _, policy := range []string{"others", "agent", "nosuch"} {
			if code, printed = r.run(`/agent/creel exec --policy ` + policy + ` -- true`); code != 125 || !strings.Contains(printed, "not one that user") {
				t.Errorf("a command of policy %s: %d, %q", policy, code, printed)
			}
		}
		if code, printed = r.run(`ls /run /run/creel`); code != 0 || printed != "/run:\ncreel\n\n/run/creel:\nexec.sock" {
			t.Errorf("what it finds of creel: %d, %q", code, printed)
		}
		if code, printed = r.run(`/agent/creel ps`); code != 125 || !strings.Contains(printed, "/run/creel/admin.sock does not exist") {
			t.Errorf("an operator's command: %d, %q", code, printed)
		}
		r.tell("speak.py", speak)
		if code, printed = r.run(`python3 /state/speak.py version`); code != 0 || !strings.Contains(printed, `"reply"`) {
			t.Errorf("control: %d, %q", code, printed)
		}
		for _, route := range []string{"ps", "kill", "agent", "logs", "inspect", "secret ls", "secret set", "revoke", "canary", "doctor"} {
			if code, printed = r.run(`python3 /state/speak.py '` + route + `'`); code != 0 || !strings.Contains(printed, `"denied"`) {
				t.Errorf("%s on the socket for commands: %d, %q", route, code, printed)
			}
		}
		if code, printed = r.run(`rm /run/creel/exec.sock`); code == 0 {
			t.Errorf("it removed its socket: %q", printed)
		}
	})
}

// Whatever an agent has begun ends with it: its commands in sandboxes of their
// own, however it went.
func TestCommandsOfAnAgentEndWithIt(t *testing.T) {
	r := start(t, options{Agent: "stop: {grace: 100ms}"})
	for _, c := range append(slices.Clone(ends), ending{"restarted", func(r *rig) { r.Creel("agent", "restart", "agent") }, ""}) {
		before := r.await("ready")
		r.run("/agent/creel exec -- sleep 1000 >/dev/null 2>&1 &")
		r.Eventually("its command runs", func() bool { return len(r.List()) == 2 })
		c.end(r)
		r.anew(before)
		r.Eventually(c.name+": its command has ended", func() bool { return len(r.List()) == 1 })
	}
}

// The socket is the agent's user's alone, and not in reach for another on the
// host either.
func TestSocketOfAnAgentIsItsOwn(t *testing.T) {
	r := start(t, options{})
	r.await("ready")
	path := r.Dir + "/run/agents/agent.sock"
	cmd := r.CommandAs(61235, 61235, "exec", "--", "true")
	cmd.Env = append(cmd.Env, "CREEL_SOCKET="+path)
	if got := r.Run(cmd); got.Code != 125 || !strings.Contains(got.Stderr, "may not connect") {
		t.Errorf("another user of the host: %+v", got)
	}
	cmd = r.Command("exec", "--", "sh", "-c", "exit 4")
	cmd.Env = append(cmd.Env, "CREEL_SOCKET="+path)
	if got := r.Run(cmd); got.Code != 4 {
		t.Errorf("control: root, who is a caller of the policy: %+v", got)
	}
}

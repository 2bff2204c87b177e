package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestEachWayToMissTheSupervisorHasItsHint(t *testing.T) {
	r := newRig(t)
	stale := filepath.Join(t.TempDir(), "stale")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	for name, test := range map[string]struct {
		socket string
		words  []string
	}{
		"absent":   {"/nonexistent/exec.sock", []string{"does not exist", "systemctl start creeld-exec.socket", "CREEL_SOCKET"}},
		"stopped":  {stale, []string{"no supervisor listens", "systemctl status creeld"}},
		"too long": {"/" + strings.Repeat("x", 120), []string{"at most 107 bytes"}},
		"a file":   {"/etc/passwd", []string{"no supervisor listens"}},
	} {
		t.Run(name, func(t *testing.T) {
			broken := *r
			broken.env = append(append([]string{}, r.env...), "CREEL_SOCKET="+test.socket)
			words := append([]string{"creel: error: ", "\ncreel: hint: "}, test.words...)
			broken.run(t, "exec", "--", "true").want(t, 125, words...)
		})
	}
	if err := os.Chmod(r.sockets.Exec, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.sockets.Admin, 0o600); err != nil {
		t.Fatal(err)
	}
	r.runAs(t, 64123, "exec", "--", "true").want(t, 125, "uid 64123 may not connect", "usermod -aG creel")
	r.runAs(t, 64123, "ps").want(t, 125, "uid 64123 may not connect", "with sudo")
	r.run(t, "exec", "--", "true").want(t, 0)
}

// runAs runs a creel as another uid.
func (r *rig) runAs(t *testing.T, uid uint32, args ...string) ran {
	t.Helper()
	command := r.command(t, args...)
	command.Dir = "/"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return end(t, command)
}

func TestDenialNamesTheCommandThatMendsIt(t *testing.T) {
	r := newRig(t)
	r.runAs(t, 64123, "ps").want(t, 125, "uid 64123 may not use \"ps\"", "sudo creel ps", "add 64123 to `admins:` in /etc/creel/creel.yaml")
	r.runAs(t, 64123, "exec", "--", "true").want(t, 0)
}

// answering is a supervisor that answers every request with these bytes and
// hangs up.
func answering(t *testing.T, answer []byte) *rig {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 64<<10))
			conn.Write(answer)
			conn.Close()
		}
	}()
	return &rig{env: []string{"CREEL_SOCKET=" + path, "CREEL_ADMIN_SOCKET=" + path}}
}

func TestLostOrMadSupervisorIsAnErrorOfItsOwn(t *testing.T) {
	for name, test := range map[string]struct {
		answer []byte
		words  []string
	}{
		"hangs up":       {nil, []string{"closed the connection without an answer", "journalctl -u creeld"}},
		"cut short":      {[]byte{0, 0, 0, 9, '{'}, []string{"closed the connection without an answer"}},
		"not JSON":       {[]byte{0, 0, 0, 1, 'x'}, []string{"cannot be understood", "same version"}},
		"endless":        {[]byte{255, 255, 255, 255}, []string{"too large"}},
		"unknown event":  {[]byte("\x00\x00\x00\x0c{\"type\":\"x\"}"), []string{`unexpected event "x"`}},
		"started twice":  {[]byte("\x00\x00\x00\x1a{\"type\":\"started\",\"id\":\"\"}\x00\x00\x00\x1a{\"type\":\"started\",\"id\":\"\"}"), []string{`unexpected event "started"`}},
		"empty result":   {[]byte("\x00\x00\x00\x11{\"type\":\"exited\"}"), []string{"unexpected event"}},
		"error, no word": {[]byte("\x00\x00\x00\x10{\"type\":\"error\"}"), []string{"unexpected event"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := answering(t, test.answer)
			r.run(t, "exec", "--", "true").want(t, 125, append(test.words, "creel: error: ", "creel: hint: ")...)
			r.run(t, "ps").want(t, 125, test.words...)
		})
	}
}

func TestMessagesCannotMoveTheTerminal(t *testing.T) {
	body, err := json.Marshal(api.Event{Type: api.EventError, Error: &api.Error{
		Code: "x", Message: "a\x1b[2Jb\ncreel: hint: forged", Hint: "c\rd", Details: []string{"e\u202ef"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := answering(t, append([]byte{0, 0, 0, byte(len(body))}, body...)).run(t, "ps")
	want := "creel: error: a\\x1b[2Jb\\x0acreel: hint: forged\ncreel: error:   e\\x202ef\ncreel: hint: c\\x0dd\n"
	if got.stderr != want || got.code != 125 {
		t.Errorf("code %d, messages\n%swant\n%s", got.code, got.stderr, want)
	}
}

func TestResultIsWrittenHoweverItEnded(t *testing.T) {
	r := newRig(t)
	for name, test := range map[string]struct {
		args         []string
		code         int
		reason, word string
	}{
		"exited":     {[]string{"--", "sh", "-c", "exit 7"}, 7, api.ReasonExited, ""},
		"time limit": {[]string{"--timeout", "50ms", "--", "sleep", "1000"}, 124, api.ReasonTimeout, ""},
		"signaled":   {[]string{"--", "sh", "-c", "kill -9 $$"}, 137, api.ReasonSignaled, ""},
		"refused":    {[]string{"--policy", servertest.DeniedPolicy, "--", "true"}, 125, api.ReasonFailed, "not for you"},
		"no command": {nil, 125, api.ReasonFailed, "there is no command"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "result.json")
			os.WriteFile(file, []byte("old"), 0o644)
			got := r.run(t, append([]string{"exec", "--result", file}, test.args...)...)
			if got.code != test.code {
				t.Errorf("exit code %d, want %d: %s", got.code, test.code, got.stderr)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			checkOutcome(t, data, test.code, test.reason, test.word)
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
	viaFD := r.sh(t, `creel exec --result-fd 7 -- sh -c 'exit 3' 7>&1`)
	if viaFD.code != 3 {
		t.Errorf("by descriptor: %+v", viaFD)
	}
	checkOutcome(t, []byte(viaFD.stdout), 3, api.ReasonExited, "")
}

func checkOutcome(t *testing.T, data []byte, code int, reason, word string) {
	t.Helper()
	var outcome api.Outcome
	if err := api.Decode(data, &outcome); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	if outcome.ExitCode != code || outcome.Reason != reason || (outcome.Error != nil) != (word != "") {
		t.Errorf("outcome %s, want code %d and reason %s", data, code, reason)
	}
	if word != "" && !strings.Contains(outcome.Error.Message, word) {
		t.Errorf("error %+v, want %q there", outcome.Error, word)
	}
}

func TestResultThatCannotBeWrittenRefusesTheRun(t *testing.T) {
	r := newRig(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	// A device of the test's own: were it replaced, nobody would miss it.
	device := filepath.Join(t.TempDir(), "null")
	if err := unix.Mknod(device, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"--result=" + device, "--result=/nonexistent/x", "--result=/", "--result=" + link,
		"--result-fd=99", "--result-fd=1", "--result-fd=-5", "--result-fd=x"} {
		got := r.run(t, "exec", place, "--", "echo", "ran")
		got.want(t, 125, "result")
		if got.stdout != "" {
			t.Errorf("%s: the command ran", place)
		}
	}
	if peers := r.host.Peers(); len(peers) != 0 {
		t.Errorf("%d requests were sent", len(peers))
	}
	r.sh(t, `creel exec --result-fd 7 -- true 7</dev/null`).want(t, 125, "not open for writing")
	r.sh(t, `creel exec --result a --result-fd 7 -- true 7>b`).want(t, 125, "exclude each other")
	if info, err := os.Lstat(device); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Fatalf("the device was replaced: %v %v", info, err)
	}
}

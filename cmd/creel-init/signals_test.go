package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// Every signal, sent by kill, tkill, tgkill and sigqueue with forged codes, to
// PID 1 and each of its threads, and a flood of them: the init still reports
// the attacker's own exit code.
func TestInitSurvivesEverySignalOfItsCommand(t *testing.T) {
	got := run(t, probe("attack-init"), "")
	if got.Code != 7 || got.Signal != 0 {
		t.Fatalf("the init did not report the end: %+v", got)
	}
	var threads, sent int
	if _, err := fmt.Sscanf(got.stdout, "threads %d sent %d", &threads, &sent); err != nil {
		t.Fatalf("%v: %q", err, got.stdout)
	}
	// The control: the kernel accepted them all. A forged code is allowed to
	// any process, SI_USER by sigqueue is not.
	if want := 64 * (1 + 5 + 3*threads); threads < 3 || sent != want {
		t.Errorf("%d threads, %d signals were sent, want %d", threads, sent, want)
	}
}

// The positive control of the one above: the same attack ends an ordinary Go
// process, here a probe that is not PID 1.
func TestSignalsOfTheAttackDoEndOthers(t *testing.T) {
	got := run(t, script(probePath+" signal-group & sleep 0; kill -SEGV $!; wait $!; echo $?"), "")
	if !strings.HasSuffix(got.stdout, "139\n") && !strings.HasSuffix(got.stdout, "2\n") {
		t.Errorf("got %q", got.stdout)
	}
}

// Whatever the engine was started with: defaults, an empty mask, the limits
// as they were set, no descriptor but the three.
func TestCommandInheritsNothingUnasked(t *testing.T) {
	b := ready(t, engineOptions{
		flags: []string{"odd-signals", "leak-fds", "soft-nofile"},
		env:   []string{"LEAK=of-the-engine"},
	})
	must(t, b.start(script("cat /proc/self/status; echo; ulimit -Sn; ulimit -Hn; ls -l /proc/self/fd; cat /proc/self/environ")))
	got := b.finish("").stdout
	for _, want := range []string{
		"SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n", "SigCgt:\t0000000000000000\n",
		"SigPnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "\n300\n300\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	for _, line := range strings.Split(got, "\n") {
		_, target, found := strings.Cut(line, " -> ")
		if found && !strings.HasPrefix(target, "pipe:") && !strings.HasPrefix(target, "/proc/") {
			t.Errorf("descriptor %s", line)
		}
	}
	if strings.Contains(got, "LEAK") || strings.Contains(got, "passwd") {
		t.Errorf("leaked:\n%s", got)
	}
}

// What the posture finds in an idle sandbox, read from the host as root.
func TestIdleInitHoldsOnlyItsSocket(t *testing.T) {
	b := ready(t, engineOptions{flags: []string{"odd-signals", "leak-fds", "soft-nofile"}})
	if n := len(processesOf(t, b)); n != 1 {
		t.Errorf("%d processes, want the init alone", n)
	}
	var targets []string
	for _, target := range descriptorsOf(t, b.pid) {
		kind, _, _ := strings.Cut(target, "[")
		if kind == "anon_inode:" {
			kind = target
		}
		targets = append(targets, kind)
	}
	slices.Sort(targets)
	if got := strings.Join(targets, " "); got != "/dev/null /dev/null /dev/null anon_inode:[eventfd] socket:" {
		t.Errorf("holds %s", got)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", b.pid))
	must(t, err)
	if len(environ) != 0 {
		t.Errorf("has the environment %q", environ)
	}
	for _, field := range []string{"SigIgn", "SigCgt"} {
		if set := statusField(t, b.pid, field); set != "0000000000000000" {
			t.Errorf("%s %s", field, set)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", b.pid))
	must(t, err)
	if !regexp.MustCompile(`Max open files +300 +600 `).Match(limits) {
		t.Errorf("limits\n%s", limits)
	}
}

func TestForkBombLeavesTheInitItsReport(t *testing.T) {
	b := ready(t, engineOptions{flags: []string{"few-processes"}})
	must(t, b.start(script("i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; exit 0")))
	got := b.finish("")
	// The control: the limit was met, which a shell does not survive.
	if !strings.Contains(got.stderr, "fork") || got.Code == 0 || got.Signal != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestZombiesAreReaped(t *testing.T) {
	got := run(t, script(
		"i=0; while [ $i -lt 50 ]; do (sh -c 'echo orphan' &) ; i=$((i+1)); done",
		// They end when they like: look until nothing but PID 1 and this
		// shell is in /proc, where a zombie would be too.
		"while :; do set -- /proc/[0-9]*; [ $# -le 2 ] && break; done; echo $#"), "")
	if want := strings.Repeat("orphan\n", 50) + "2\n"; got.stdout != want {
		t.Errorf("got %q", got.stdout)
	}
}

func TestBackgroundProcessesEndWithTheCommand(t *testing.T) {
	b := ready(t, engineOptions{})
	must(t, b.start(script("setsid sh -c 'trap \"\" TERM HUP; echo up; exec >&-; while :; do sleep 1000; done' & read line; exit 6")))
	b.readUntil("up\n")
	if n := len(processesOf(t, b)); n < 3 {
		t.Errorf("%d processes, want the init, the command and its background", n)
	}
	if got := b.finish("\n"); got.Code != 6 {
		t.Errorf("got %+v", got)
	}
	<-b.ended // wait4 on PID 1 returns when its namespace is empty
}

func TestEndOfTheControlSocketEndsEverything(t *testing.T) {
	bad := "setsid sh -c 'trap \"\" TERM HUP INT; (trap \"\" TERM; echo up; while :; do sleep 1000; done) & wait' & wait"
	for name, advance := range map[string]func(b *box){
		"before hello": func(b *box) {},
		"after ready": func(b *box) {
			_, err := b.Handshake(b.context(), initproto.Setup{})
			must(t, err)
		},
		"running": func(b *box) {
			_, err := b.Handshake(b.context(), initproto.Setup{})
			must(t, err)
			must(t, b.start(script(bad)))
			b.readUntil("up\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, engineOptions{})
			advance(b)
			must(t, b.Close())
			<-b.ended
		})
	}
}

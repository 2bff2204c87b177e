package credential

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// helpers is a directory that only root can change, all the way up, unlike
// /tmp.
func helpers(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "creel-credential-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// script writes a helper of root's and returns its path.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(helpers(t), "helper")
	put(t, path, "#!/bin/sh\n"+body+"\n", 0o755)
	return path
}

func newExec(t *testing.T, timeout time.Duration) *Exec {
	t.Helper()
	provider, err := NewExec()
	if err != nil {
		t.Fatal(err)
	}
	provider.timeout = timeout
	return provider
}

// running lists the processes with word in their arguments.
func running(t *testing.T, word string) []string {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range paths {
		if args, err := os.ReadFile(path); err == nil && strings.Contains(string(args), word) {
			found = append(found, path+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return found
}

// uniqueSeconds is a time for sleep(1) that no other process sleeps.
func uniqueSeconds() string { return fmt.Sprintf("300.%d%d", os.Getpid(), time.Now().UnixNano()) }

func TestHelperGivesItsOutput(t *testing.T) {
	provider := newExec(t, 10*time.Second)
	wantFetched(t, provider, "/usr/bin/printf %s-%s canary value", "canary-value") // a binary
	wantFetched(t, provider, script(t, `printf '%s ' "$@"; echo end`)+"  first   second", "first second end")
}

func TestHelperRunsWithNothingOfTheSupervisor(t *testing.T) {
	inherited, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // not close-on-exec, like a socket from systemd
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(inherited) }()
	dir := helpers(t)
	report := `
		printf ' cwd:%s stdin:%s stderr:%s' "$(readlink /proc/self/cwd)" "$(readlink /proc/self/fd/0)" "$(readlink /proc/self/fd/2)"
		for fd in /proc/self/fd/*; do printf ' %s' "${fd##*/}"; done
		printf ' pid:%s session:%s' "$$" "$(cut -d' ' -f6 /proc/self/stat)"`
	put(t, filepath.Join(dir, "report"), "#!/bin/sh\n"+report, 0o755)
	grant, err := newExec(t, 10*time.Second).Fetch(t.Context(), Ask{Reference: filepath.Join(dir, "report")})
	if err != nil {
		t.Fatal(err)
	}
	got := string(grant.Secret.Reveal())
	for _, want := range []string{"cwd:/ ", "stdin:/dev/null", "stderr:/dev/null", "pid:1 "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if strings.HasSuffix(got, fmt.Sprintf("session:%d", must(unix.Getsid(0)))) || strings.HasSuffix(got, "session:") {
		t.Errorf("no session of its own: %q", got)
	}
	if fd := " " + strconv.Itoa(inherited) + " "; strings.Contains(got, fd) {
		t.Errorf("descriptor %s was inherited: %q", fd, got)
	}
	// A binary has its stdio and the directory it lists, and no environment.
	wantFetched(t, newExec(t, 10*time.Second), "/usr/bin/ls -x -w 0 /proc/self/fd", "0  1  2  3")
	wantFetched(t, newExec(t, 10*time.Second), "/usr/bin/env CONTROL="+canary, "CONTROL="+canary)
	wantRefused(t, newExec(t, 10*time.Second), "/usr/bin/env", "it is empty")
}

func must(n int, err error) int {
	if err != nil {
		panic(err)
	}
	return n
}

func TestHelperCannotDumpCore(t *testing.T) {
	newExec(t, time.Second)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil || limit.Cur > 1 || limit.Max > 1 {
		t.Errorf("limit %+v, %v", limit, err)
	}
	grant, err := newExec(t, 10*time.Second).Fetch(t.Context(), Ask{Reference: "/usr/bin/cat /proc/self/limits"})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(grant.Secret.Reveal())) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && (fields[4] != "1" || fields[5] != "1") {
			t.Errorf("the helper's: %s", line)
		}
	}
}

func TestFailingHelperIsAnErrorWithoutItsOutput(t *testing.T) {
	provider := newExec(t, 10*time.Second)
	wantRefused(t, provider, script(t, "echo "+canary+"; echo "+canary+" >&2; exit 3"), "exit status 3")
	wantRefused(t, provider, script(t, "echo "+canary+" >&2"), "it is empty")
	wantRefused(t, provider, script(t, "echo short"), "5 bytes")
	wantRefused(t, provider, script(t, "while :; do echo "+canary+"; done"), "more than 65536 bytes")
	path := script(t, "")
	put(t, path, "no program at all", 0o755)
	wantRefused(t, provider, path, "start helper")
	if _, err := provider.Fetch(t.Context(), Ask{Reference: path}); !strings.Contains(err.Error(), "env -i "+path) {
		t.Errorf("the error does not say how to look closer: %v", err)
	}
}

func TestHelperAndAllItStartedEnd(t *testing.T) {
	seconds := uniqueSeconds()
	// In a session of its own, orphaned, deaf to signals, and surely started.
	background := `[ "$(setsid sh -c 'trap "" TERM HUP INT; sleep ` + seconds + ` >/dev/null & echo up')" = up ] || exit 9` + "\n"
	for _, test := range []struct{ name, body, want string }{
		{"leftovers after success", background + "echo " + canary, ""},
		{"leftovers after failure", background + "exit 4", "exit status 4"},
		{"time limit", background + "trap '' TERM; echo " + canary + "; sleep " + seconds, "killed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			provider := newExec(t, 20*time.Second)
			if test.want == "killed" {
				provider = newExec(t, 300*time.Millisecond)
			}
			path, start := script(t, test.body), time.Now()
			if test.want == "" {
				wantFetched(t, provider, path, canary)
			} else {
				wantRefused(t, provider, path, test.want)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if left := running(t, seconds); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func TestHelperEndsWithItsCaller(t *testing.T) {
	seconds := uniqueSeconds()
	path := script(t, "sleep "+seconds)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() {
		_, err := newExec(t, time.Minute).Fetch(ctx, Ask{Reference: path})
		result <- err
	}()
	wantRunning(t, seconds, true) // the control
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch: %v", err)
	}
	if left := running(t, seconds); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// Somebody outside holds the helper's output open beyond its end.
func TestHelperWhoseOutputStaysOpenIsNotWaitedFor(t *testing.T) {
	seconds := uniqueSeconds()
	path := script(t, "echo "+canary+"; exec sleep "+seconds)
	result := make(chan error)
	go func() {
		_, err := newExec(t, time.Second).Fetch(t.Context(), Ask{Reference: path})
		result <- err
	}()
	wantRunning(t, "sleep\x00"+seconds, true)
	process, _, _ := strings.Cut(running(t, "sleep\x00"+seconds)[0], "/cmdline")
	held, err := os.OpenFile(process+"/fd/1", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	select {
	case err := <-result:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Fetch: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Fetch still waits")
	}
}

// wantRunning waits until a process with word in its arguments is there, or
// none is.
func wantRunning(t *testing.T, word string, want bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(running(t, word)) > 0 != want {
		if time.Now().After(deadline) {
			t.Fatalf("after 10 s running is not %t: %q", want, running(t, word))
		}
		time.Sleep(time.Millisecond)
	}
}

func TestHelperEndsWithTheSupervisor(t *testing.T) {
	seconds := uniqueSeconds()
	path := script(t, "sleep "+seconds)
	supervisor := exec.Command("/proc/self/exe", "fetch", path)
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	wantRunning(t, "sleep\x00"+seconds, true) // the control
	if err := supervisor.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = supervisor.Wait()
	wantRunning(t, "sleep\x00"+seconds, false)
}

func TestReferenceIsNotAShellLine(t *testing.T) {
	provider := newExec(t, 10*time.Second)
	for reference, want := range map[string]string{
		"":                             "no helper",
		"   ":                          "no helper",
		"printf value":                 "not a clean absolute path",
		"/":                            "not a clean absolute path",
		"/usr/../usr/bin/printf":       "not a clean absolute path",
		"/usr//bin/printf":             "not a clean absolute path",
		"/usr/bin/printf 'a b'":        "cannot be quoted",
		`/usr/bin/printf "a b"`:        "cannot be quoted",
		`/usr/bin/printf a\ b`:         "cannot be quoted",
		"/usr/bin/printf `id`":         "cannot be quoted",
		"/usr/bin/printf a\x00b":       "control character",
		"/usr/bin/printf a\nb":         "control character",
		"/usr/bin/nothing-of-the-sort": "no such file",
	} {
		wantRefused(t, provider, reference, want)
	}
	wantFetched(t, provider, "/usr/bin/printf %s $HOME;$(id)>x", "$HOME;$(id)>x")
}

func TestHelperMustBeRootsAlone(t *testing.T) {
	provider := newExec(t, 10*time.Second)
	fresh := func() (dir, helper string) {
		helper = script(t, "echo "+canary)
		return filepath.Dir(helper), helper
	}
	change := func(what string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, helper := fresh()
	wantFetched(t, provider, helper, canary)

	for mode, want := range map[os.FileMode]string{0o775: "0775", 0o757: "0757", 0o777: "0777", 0o644: "not executable"} {
		_, helper = fresh()
		change("chmod", os.Chmod(helper, mode))
		wantRefused(t, provider, helper, want)
	}
	_, helper = fresh()
	change("chown", os.Chown(helper, 12345, 0))
	wantRefused(t, provider, helper, "owned by uid 12345")

	dir, helper := fresh()
	change("chmod", os.Chmod(dir, 0o777))
	wantRefused(t, provider, helper, "check "+dir+": mode 0777")
	change("chmod", os.Chmod(dir, 0o1777)) // sticky, like /tmp
	wantRefused(t, provider, helper, "check "+dir+": mode")
	change("chmod", os.Chmod(dir, 0o755))
	change("chown", os.Chown(dir, 12345, 0))
	wantRefused(t, provider, helper, "owned by uid 12345")
	change("chown", os.Chown(dir, 0, 0))
	wantFetched(t, provider, helper, canary)

	change("symlink", os.Symlink(helper, dir+"/link"))
	wantRefused(t, provider, dir+"/link", "a symlink is not followed")
	change("symlink", os.Symlink(dir, dir+"/up"))
	wantRefused(t, provider, dir+"/up/helper", "a symlink is not followed")
	change("mkfifo", unix.Mkfifo(dir+"/fifo", 0o755))
	wantRefused(t, provider, dir+"/fifo", "not a regular file")
	wantRefused(t, provider, dir, "not a regular file")
	wantRefused(t, provider, helper+"/x", "not a directory")
	tmp := filepath.Join(t.TempDir(), "helper")
	put(t, tmp, "#!/bin/sh\necho "+canary, 0o755)
	wantRefused(t, provider, tmp, "lets others than root write")
}

// What was checked is what runs, even if root replaces it meanwhile.
func TestHelperIsRunByItsDescriptor(t *testing.T) {
	for _, kind := range []string{"script", "binary"} {
		path := script(t, "echo "+canary)
		argv := []string{path}
		if kind == "binary" {
			program, err := os.ReadFile("/usr/bin/printf")
			if err != nil {
				t.Fatal(err)
			}
			put(t, path, string(program), 0o755)
			argv = []string{path, canary}
		}
		helper, err := openHelper(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = helper.Close() }()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		put(t, path, "#!/bin/sh\necho another program\n", 0o755)
		secret, err := run(t.Context(), helper, argv)
		if err != nil || string(secret.Reveal()) != canary {
			t.Errorf("%s: %q, %v", kind, secret.Reveal(), err)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, seed := range []string{"/usr/bin/printf x", " a  b ", "'", "\x00", "é\u2003x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reference string) {
		argv, err := splitReference(reference)
		if err != nil {
			return // refused
		}
		for _, arg := range argv {
			if arg == "" || strings.ContainsAny(arg, " '\"\\`\x00\n") {
				t.Fatalf("argument %q of %q", arg, reference)
			}
		}
		if strings.Join(argv, "") != strings.ReplaceAll(reference, " ", "") {
			t.Fatalf("%q became %q", reference, argv)
		}
	})
}

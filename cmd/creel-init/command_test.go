package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

func TestExitCodesAndSignalsAreReported(t *testing.T) {
	for _, c := range []struct {
		script string
		want   initproto.Exit
	}{
		{"exit 0", initproto.Exit{}},
		{"exit 7", initproto.Exit{Code: 7}},
		{"exit 255", initproto.Exit{Code: 255}},
		{"kill -KILL $$", initproto.Exit{Signal: 9}},
		{"kill -TERM $$", initproto.Exit{Signal: 15}},
		{"kill -SEGV $$", initproto.Exit{Signal: 11}},
		{"(exit 9) & wait; exit 4", initproto.Exit{Code: 4}},
	} {
		got := run(t, script(c.script), "")
		if got.Code != c.want.Code || got.Signal != c.want.Signal {
			t.Errorf("%s: got code %d signal %d, want %+v", c.script, got.Code, got.Signal, c.want)
		}
	}
}

// The end of a command that ends at once meets the word that it was started.
func TestQuickCommandsAlwaysReport(t *testing.T) {
	for range 30 {
		if got := run(t, command("/bin/false"), ""); got.Code != 1 {
			t.Fatalf("got %+v", got)
		}
	}
}

func TestStdioKeepsBytesOrderAndEnds(t *testing.T) {
	data := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{1}).Read(data)
	got := run(t, script("printf one >&2; cat; printf two >&2"), string(data))
	if !bytes.Equal([]byte(got.stdout), data) {
		t.Errorf("%d bytes in, %d other bytes out", len(data), len(got.stdout))
	}
	if got.stderr != "onetwo" {
		t.Errorf("stderr %q", got.stderr)
	}
}

// The readers of a command that closes its output see the end while it runs.
func TestInitKeepsNoEndOfTheCommandsPipes(t *testing.T) {
	b := ready(t, engineOptions{})
	must(t, b.start(script("exec >&- 2>&-; read line; exit 5")))
	if out := readAll(b.stdout) + readAll(b.stderr); out != "" {
		t.Errorf("read %q", out)
	}
	if got := b.finish("go on\n"); got.Code != 5 {
		t.Errorf("exit %d", got.Code)
	}
}

func TestEnvironmentIsExactlyTheJobs(t *testing.T) {
	env := []string{"B=2", "A=1", "A=again", "EMPTY=", "ODD", "=x", "UTF=\xff\xfe", "LINE=a\nb"}
	job := command("/usr/bin/env", "-0")
	job.Env = list(env...)
	b := ready(t, engineOptions{env: []string{"LEAK=of-the-engine"}})
	must(t, b.start(job))
	if got, want := b.finish("").stdout, strings.Join(env, "\x00")+"\x00"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	job.Env = nil
	if got := run(t, job, "").stdout; got != "" {
		t.Errorf("empty environment: got %q", got)
	}
}

func TestCommandStartsInItsDirectoryWithUsualUmask(t *testing.T) {
	job := script("pwd; umask")
	job.Cwd = "/usr/lib"
	if got := run(t, job, "").stdout; got != "/usr/lib\n0022\n" {
		t.Errorf("got %q", got)
	}
}

func TestBadDirectoriesAreRefused(t *testing.T) {
	link := t.TempDir() + "/link"
	must(t, os.Symlink("/proc/self/fd", link))
	for dir := link; dir != "/tmp"; dir = dir[:strings.LastIndex(dir, "/")] {
		if dir != link {
			must(t, os.Chmod(dir, 0o755))
		}
	}
	for dir, want := range map[string]unix.Errno{
		"/nonexistent":    unix.ENOENT,
		"/etc/passwd":     unix.ENOTDIR,
		"/root":           unix.EACCES,
		"/proc":           unix.EACCES,
		"/proc/self":      unix.EACCES,
		"/proc/self/fd":   unix.EACCES,
		"/proc/self/cwd":  0, // leads out of /proc
		"/usr/../proc/1/": unix.EACCES,
		link:              unix.EACCES,
	} {
		job := command("/bin/true")
		job.Cwd = dir
		expectStart(t, job, initproto.StepChdir, want)
	}
}

// expectStart starts a job and expects a refusal in this step, or none at all
// for errno 0.
func expectStart(t *testing.T, job initproto.Job, step initproto.Step, want unix.Errno) {
	t.Helper()
	b := ready(t, engineOptions{})
	err := b.start(job)
	var failed *initproto.StartError
	switch {
	case want == 0 && err != nil:
		t.Errorf("cwd %q, argv %.60q: %v, want a start", job.Cwd, job.Argv, err)
	case want == 0:
		b.finish("")
	case !errors.As(err, &failed) || failed.Step != step || failed.Errno != want:
		t.Errorf("cwd %q, argv %.60q: got %v, want %v: %v", job.Cwd, job.Argv, err, step, want)
	default:
		<-b.ended // without being told to
	}
}

func TestCommandsThatCannotRunSayWhy(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(dir[:strings.LastIndex(dir, "/")], 0o755))
	for name, mode := range map[string]os.FileMode{"plain": 0o644, "noformat": 0o755} {
		must(t, os.WriteFile(dir+"/"+name, []byte("echo not a program\n"), mode))
	}
	must(t, os.WriteFile(dir+"/orphan", []byte("#!/nonexistent/sh\n"), 0o755))
	for _, c := range []struct {
		argv0, path string
		want        unix.Errno
		code        int
	}{
		{"/nonexistent", "", unix.ENOENT, 127},
		{"nonexistent", "PATH=/usr/bin:/bin", unix.ENOENT, 127},
		{"", "PATH=/usr/bin", unix.ENOENT, 127},
		{"sh", "PATH=/nonexistent:/etc/passwd", unix.ENOENT, 127},
		{dir + "/orphan", "", unix.ENOENT, 127},
		{"/etc/passwd/x", "", unix.ENOENT, 127},
		{dir + "/plain", "", unix.EACCES, 126},
		{"plain", "PATH=" + dir + ":/usr/bin", unix.EACCES, 126},
		{"/usr", "", unix.EACCES, 126},
		{dir + "/noformat", "", unix.ENOEXEC, 126},
		{"noformat", "PATH=" + dir, unix.ENOEXEC, 126},
		{"true", "PATH=/nonexistent:/etc/passwd:/root:/usr/bin", 0, 0},
		{"true", "NOPATH=", 0, 0},
	} {
		job := command(c.argv0)
		job.Env = list(c.path)
		expectStart(t, job, initproto.StepExec, c.want)
		if code := (&initproto.StartError{Step: initproto.StepExec, Errno: c.want}).ExitCode(); c.want != 0 && code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.want, code, c.code)
		}
	}
}

func TestLargeArgumentsArrive(t *testing.T) {
	job := command("/bin/sh", "-c", `echo $# ${#1}; shift 99; printf %s "$1"`, "sh")
	arg := strings.Repeat("x", 100<<10)
	for range 10 {
		job.Argv = append(job.Argv, []byte(arg))
	}
	for range 90 {
		job.Argv = append(job.Argv, []byte("\xffé"))
	}
	got := run(t, job, "")
	if got.stdout != "100 102400\n\xffé" {
		t.Errorf("got %.80q, stderr %q", got.stdout, got.stderr)
	}
	job.Argv = append(job.Argv, make([]byte, 0, 1))
	for range 20 {
		job.Argv = append(job.Argv, []byte(arg))
	}
	expectStart(t, job, initproto.StepExec, unix.E2BIG)
}

func TestNULIsRefusedBeforeAnythingIsSent(t *testing.T) {
	b := ready(t, engineOptions{})
	for _, job := range []initproto.Job{
		{Argv: list("/bin/echo", "a\x00b"), Cwd: "/", Filter: allowing},
		{Argv: list("/bin/echo"), Env: list("A=\x00"), Cwd: "/", Filter: allowing},
		{Argv: list("/bin/echo"), Cwd: "/\x00", Filter: allowing},
		{Argv: nil, Cwd: "/", Filter: allowing},
		{Argv: list("/bin/echo"), Cwd: "relative", Filter: allowing},
	} {
		if err := b.Start(b.context(), job, b.inside); !errors.Is(err, initproto.ErrJob) {
			t.Errorf("%q: %v", job.Argv, err)
		}
	}
	must(t, b.start(command("/bin/echo", "ab")))
	if got := b.finish(""); got.stdout != "ab\n" {
		t.Errorf("got %q", got.stdout)
	}
}

func TestResourceUseIsTheCommands(t *testing.T) {
	wall := time.Now()
	got := run(t, script("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"), "")
	most := time.Since(wall)
	if got.UserCPU < 20*time.Millisecond || got.UserCPU+got.SystemCPU > 2*most {
		t.Errorf("user %v, system %v in %v", got.UserCPU, got.SystemCPU, most)
	}
	if got.MaxRSS < 1<<20 || got.MaxRSS > 64<<20 {
		t.Errorf("maximum resident set %d bytes", got.MaxRSS)
	}
	if idle := run(t, command("/bin/true"), ""); idle.UserCPU+idle.SystemCPU >= got.UserCPU {
		t.Errorf("true used %v", idle.UserCPU+idle.SystemCPU)
	}
}

func TestSignalsReachTheCommandOnly(t *testing.T) {
	b := ready(t, engineOptions{})
	if err := b.Signal(10); !errors.Is(err, initproto.ErrOrder) {
		t.Errorf("signal before the job: %v", err)
	}
	must(t, b.start(probe("signal-group")))
	b.readUntil("listening\n")
	must(t, b.Signal(int(unix.SIGUSR1)))
	b.readUntil("user defined signal 1\n")
	must(t, b.Signal(int(unix.SIGTERM)))
	if got := b.finish(""); got.Code != 3 || got.stdout != "terminated\n" {
		t.Errorf("got %+v", got)
	}
	if err := b.Signal(int(unix.SIGTERM)); !errors.Is(err, initproto.ErrOrder) {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestKillSignalEndsTheCommand(t *testing.T) {
	b := ready(t, engineOptions{})
	must(t, b.start(script("trap '' TERM; echo up; while :; do read x || exec /bin/cat /dev/ptmx; done")))
	b.readUntil("up\n")
	must(t, b.Signal(int(syscall.SIGKILL)))
	exit, err := b.Wait()
	must(t, err)
	if exit.Signal != 9 {
		t.Errorf("got %+v", exit)
	}
}

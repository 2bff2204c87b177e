package scan

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// history makes a packed repository of the sources of this module in which
// each of n commits changes three lines of a file.
func history(b *testing.B, dir string, n int) {
	b.Helper()
	var files [][]string
	err := filepath.WalkDir("../../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, strings.Split(string(data), "\n"))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var in strings.Builder
	write := func(i int) {
		text := strings.Join(files[i], "\n")
		fmt.Fprintf(&in, "M 100644 inline dir%d/file%d.go\ndata %d\n%s\n", i%17, i, len(text), text)
	}
	for c := range n + 1 {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter a <a@example.org> %d +0000\ndata 6\nchange\n", 1_600_000_000+c)
		if c == 0 {
			for i := range files {
				write(i)
			}
			continue
		}
		i := random.IntN(len(files))
		for range 3 {
			files[i][random.IntN(len(files[i]))] = fmt.Sprintf("\tvalue%d := compute(%d, token, %q)", random.IntN(1000), c, fmt.Sprint(random.Uint32()))
		}
		write(i)
	}
	git := func(stdin string, args ...string) {
		b.Helper()
		cmd := exec.CommandContext(b.Context(), "git", args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(stdin)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("", "init", "-q", "-b", "main")
	git(in.String(), "fast-import", "--quiet")
	git("", "gc", "-q")
	git("", "reset", "-q", "--hard")
}

// BenchmarkTenThousandCommits is the first search, one of what did not change,
// one of the same packed anew, and one with one commit more.
func BenchmarkTenThousandCommits(b *testing.B) {
	w := &workspace{dir: b.TempDir(), old: &memory{}, seconds: 3600}
	history(b, w.dir, 10_000)
	fd, err := unix.Open(w.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	cpu := func() float64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
	}
	search := func(b *testing.B) {
		before := cpu()
		report, next := find(hygiene.Request{Seconds: w.seconds}, []place{{hygiene.Place{Name: w.dir}, fd}}, w.old)
		w.old = reread(b, next)
		b.ReportMetric(cpu()-before, "cpu-ms")
		b.ReportMetric(float64(report.Count.Files), "files")
		b.ReportMetric(float64(report.Count.Objects), "objects")
		b.ReportMetric(float64(report.Count.Searched), "searched")
		b.ReportMetric(float64(report.Count.Bytes)/1e6, "MB")
		b.ReportMetric(float64(report.Count.RuledBytes)/1e6, "ruled-MB")
	}
	for _, name := range []string{"first", "second", "third"} {
		b.Run(name, search)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "new"), []byte("text\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "one more"}} {
		cmd := exec.CommandContext(b.Context(), "git", args...)
		cmd.Dir, cmd.Env = w.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir}
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
	}
	b.Run("one-commit-more", search)
}

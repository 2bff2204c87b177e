package scan

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/hygiene/keyring"
)

// What the rules find, put together here so that no scanner finds it in this
// file: a token of GitHub's, and one of Slack's.
var (
	githubToken = "ghp_" + "R7xKq2mVw9ZtB4nLc8JdY3hPf6sGa1Ue5TkX"
	slackToken  = "xoxb-" + "2847593016284-7395018264739-Kq7mVw2ZtB9nLc4JdY8hPf3s"
)

// managed is a value that no rule knows.
const managed = "correct horse battery staple"

// workspace is a directory that is searched.
type workspace struct {
	t   *testing.T
	dir string
	old *memory
	// values are the values under management.
	values  [][]byte
	keyring *keyring.Keyring
	seconds int
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	return &workspace{t: t, dir: t.TempDir(), old: &memory{}, keyring: keyring.New(), seconds: 300}
}

func (w *workspace) write(path, text string) {
	w.t.Helper()
	file := filepath.Join(w.dir, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *workspace) remove(path string) {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.dir, path)); err != nil {
		w.t.Fatal(err)
	}
}

// git runs git in the workspace, as the one who works there does.
func (w *workspace) git(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@example.org"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes a file and commits it.
func (w *workspace) commit(path, text string) string {
	w.t.Helper()
	w.write(path, text)
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "change "+path)
	return w.git("rev-parse", "HEAD")
}

// search searches with what the last search remembers.
func (w *workspace) search() hygiene.Report {
	w.t.Helper()
	fd, err := unix.Open(w.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var values [][]hygiene.Needle
	for _, value := range w.values {
		needles, err := w.keyring.Hash(value)
		if err != nil {
			w.t.Fatal(err)
		}
		values = append(values, needles)
	}
	request := hygiene.Request{Needles: hygiene.Put(w.keyring.Key(), values...), Seconds: w.seconds}
	report, next := find(request, []place{{hygiene.Place{Name: w.dir}, fd}}, w.old)
	w.old = reread(w.t, next)
	return report
}

// reread is what the next search reads of what this one remembers.
func reread(t testing.TB, m *memory) *memory {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "memory"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if err := m.write(file); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	read, err := parseMemory(file)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// settle searches until nothing is read any more: what has just been written
// is not remembered.
func (w *workspace) settle() hygiene.Report {
	w.t.Helper()
	for {
		if r := w.search(); r.Count.FilesRead == 0 {
			return r
		}
	}
}

// clean fails unless nothing was found and all was covered.
func (w *workspace) clean(r hygiene.Report) {
	w.t.Helper()
	if len(r.Findings) > 0 || len(r.Uncovered) > 0 {
		w.t.Errorf("findings %+v, uncovered %+v", r.Findings, r.Uncovered)
	}
}

// only gives the one finding, of which no part of the report may tell the
// text.
func (w *workspace) only(r hygiene.Report) hygiene.Finding {
	w.t.Helper()
	if len(r.Findings) != 1 || len(r.Uncovered) > 0 {
		w.t.Fatalf("findings %+v, want one; uncovered %+v", r.Findings, r.Uncovered)
	}
	return r.Findings[0]
}

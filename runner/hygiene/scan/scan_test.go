package scan

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

func TestCredentialInAFileIsFoundWithItsLine(t *testing.T) {
	w := newWorkspace(t)
	w.write("notes/readme.txt", "nothing\nto see\n")
	w.clean(w.search())
	for _, path := range []string{"MEMORY.md", "SOUL.md", "AGENTS.md", "openclaw.json", "deep/er/.env", ".git/config"} {
		w.write(path, "one\ntwo\nuse "+githubToken+" for it\n")
		f := w.only(w.search())
		if f.Path != filepath.Join(w.dir, path) || f.Line != 3 || f.Rule != "github-pat" || len(f.Fingerprint) != 16 {
			t.Errorf("%s: %+v", path, f)
		}
		w.remove(path)
	}
	w.clean(w.search())
}

func TestReportNeverHoldsTheCredential(t *testing.T) {
	w := newWorkspace(t)
	w.values = [][]byte{[]byte(managed)}
	w.write("a", githubToken+"\n"+managed+"\n")
	r := w.search()
	data, err := json.Marshal([]any{r, w.old.header, w.old.findings})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 2 {
		t.Fatalf("control: %+v", r.Findings)
	}
	for _, secret := range []string{githubToken, githubToken[4:20], managed, managed[:12]} {
		if strings.Contains(string(data), secret) {
			t.Errorf("%q is in %s", secret, data)
		}
	}
}

// histories are ways in which a token comes into a repository, and is gone from
// its files. Each gives the commit that has it, where that is known.
var histories = map[string]func(w *workspace) string{
	"a commit that was reverted": func(w *workspace) string {
		id := w.commit("dir/conf.ini", "a\n"+githubToken+"\n")
		w.git("revert", "--no-edit", "HEAD")
		return id
	},
	"a deleted branch": func(w *workspace) string {
		w.git("checkout", "-q", "-b", "other")
		id := w.commit("dir/conf.ini", "a\n"+githubToken+"\n")
		w.git("checkout", "-q", "main")
		w.git("branch", "-q", "-D", "other")
		return id
	},
	"a deleted branch without a reflog, in no pack": func(w *workspace) string {
		w.git("checkout", "-q", "-b", "other")
		id := w.commit("dir/conf.ini", "a\n"+githubToken+"\n")
		w.git("checkout", "-q", "main")
		w.git("branch", "-q", "-D", "other")
		w.git("reflog", "expire", "--expire=all", "--all")
		w.git("repack", "-q", "-a", "-d")
		return id
	},
	"a stash": func(w *workspace) string {
		w.write("dir/conf.ini", "a\n"+githubToken+"\n")
		w.git("add", "-A")
		w.git("stash", "-q")
		return ""
	},
	"a tag and a packed reference": func(w *workspace) string {
		id := w.commit("dir/conf.ini", "a\n"+githubToken+"\n")
		w.git("tag", "-a", "-m", "tagged", "v1")
		w.git("reset", "-q", "--hard", "HEAD~1")
		w.git("gc", "-q")
		w.git("pack-refs", "--all")
		return id
	},
	"a delta in a pack": func(w *workspace) string {
		long := strings.Repeat("the same line again and again\n", 1) + lines(400)
		w.commit("dir/conf.ini", long)
		id := w.commit("dir/conf.ini", strings.Replace(long, "line 200\n", githubToken+"\n", 1))
		w.commit("dir/conf.ini", long+"and the end\n")
		w.git("gc", "-q", "--aggressive")
		return id
	},
	"a delta in a pack that names its base": func(w *workspace) string {
		long := lines(400)
		w.commit("dir/conf.ini", strings.Replace(long, "line 200\n", githubToken+"\n", 1))
		id := w.git("rev-parse", "HEAD")
		w.commit("dir/conf.ini", long+"and the end\n")
		w.git("-c", "repack.useDeltaBaseOffset=false", "repack", "-q", "-a", "-d", "-f")
		return id
	},
}

func TestCredentialInTheHistoryIsFoundWithItsCommit(t *testing.T) {
	for name, make := range histories {
		for _, format := range []string{"sha1", "sha256"} {
			t.Run(name+", "+format, func(t *testing.T) {
				w := newWorkspace(t)
				w.git("init", "-q", "-b", "main", "--object-format="+format)
				w.commit("first", "nothing\n")
				w.clean(w.search())
				id := make(w)
				f := w.only(w.search())
				if f.Path != "dir/conf.ini" || f.Commit == "" || id != "" && f.Commit != id || f.Line < 2 || f.Object == "" || f.Repository != w.dir+"/.git" {
					t.Errorf("%+v, want commit %s", f, id)
				}
			})
		}
	}
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("line ")
		b.WriteString(strings.Repeat("x", i%7))
		b.WriteString("\n")
	}
	return b.String() + "line 200\n"
}

func TestManagedValueIsFoundThoughNoRuleKnowsIt(t *testing.T) {
	forms := map[string]string{
		"plain":             "say: " + managed + ", please\n",
		"base64":            base64.StdEncoding.EncodeToString([]byte("Basic user:"+managed)) + "\n",
		"base64 by another": base64.StdEncoding.EncodeToString([]byte("a"+managed+"bc")) + "\n",
		"hexadecimal":       "0x" + hex.EncodeToString([]byte(managed)) + "\n",
		"in a binary":       "\x00\x01" + managed,
	}
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.write("other", text)
			w.values = [][]byte{[]byte("another value that is nowhere")}
			w.clean(w.search())
			w.values = append(w.values, []byte(managed))
			f := w.only(w.search())
			if f.Rule != "managed-value" || f.Value != 1 || f.Line != 1 || f.Fingerprint != "" {
				t.Errorf("%+v", f)
			}
			w.git("init", "-q", "-b", "main")
			w.git("add", "-A")
			w.git("commit", "-q", "-m", "all")
			w.remove("other")
			if f := w.only(w.search()); f.Commit == "" || f.Path != "other" || f.Value != 1 {
				t.Errorf("in the history: %+v", f)
			}
		})
	}
}

func TestLongFilesAreSearchedAcrossTheirBlocks(t *testing.T) {
	w := newWorkspace(t)
	w.values = [][]byte{[]byte(managed)}
	line := strings.Repeat("-", 99) + "\n"
	for _, at := range []int{blockSize - 10, blockSize - overlap - 10, 2*(blockSize-overlap) + 5} {
		text := strings.Repeat(line, 3*blockSize/len(line))
		w.write("long", text[:at]+"\n"+managed+" "+slackToken+"\n"+text[at:])
		r := w.search()
		if len(r.Findings) != 2 || r.Findings[0].Line != at/len(line)+2 || r.Findings[1].Line != at/len(line)+2 {
			t.Errorf("at %d, line %d: %+v", at, at/len(line)+2, r.Findings)
		}
	}
}

func TestRulesAreAppliedToTheBeginningOfWhatIsImmense(t *testing.T) {
	w := newWorkspace(t)
	w.values = [][]byte{[]byte(managed)}
	text := strings.Repeat("some text\n", maxRuled/10)
	w.write("data", githubToken+"\n"+text+slackToken+"\n"+managed+"\n")
	r := w.search()
	if len(r.Findings) != 2 || r.Findings[0].Rule != "github-pat" || r.Findings[1].Rule != "managed-value" || r.Count.Long != 1 {
		t.Errorf("%+v", r)
	}
	w.write("data", githubToken+"\n"+text[:len(text)/2]+slackToken+"\n"+managed+"\n")
	if r := w.search(); len(r.Findings) != 3 || r.Count.Long != 0 {
		t.Errorf("control: %+v", r)
	}
}

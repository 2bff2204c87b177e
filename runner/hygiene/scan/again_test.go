package scan

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWhatDidNotChangeIsNotReadAgain(t *testing.T) {
	w := newWorkspace(t)
	w.git("init", "-q", "-b", "main")
	for i := range 20 {
		w.commit("file", fmt.Sprintf("version %d\n%s", i, lines(50)))
	}
	w.git("gc", "-q")
	first := w.search()
	w.clean(first)
	if c := first.Count; c.Objects < 60 || c.FilesRead < 10 {
		t.Fatalf("control: %+v", c)
	}
	if c := w.settle().Count; c.Objects != 0 || c.Bytes != 0 || c.Files != first.Count.Files {
		t.Errorf("nothing changed, and %+v was read", c)
	}
	w.commit("file", "another\n")
	c := w.search().Count
	if c.Objects != 3 || c.Searched != 3 || c.FilesRead > 12 { // a commit, a tree, a blob
		t.Errorf("one commit more: %+v", c)
	}
	w.settle()
	w.git("gc", "-q") // all objects in one new pack
	if c := w.search().Count; c.Objects < 63 || c.Searched != 0 {
		t.Errorf("packed anew: %+v", c)
	}
}

func TestFindingsAreRememberedWithWhatTheyWereFoundIn(t *testing.T) {
	w := newWorkspace(t)
	w.git("init", "-q", "-b", "main")
	w.commit("conf", githubToken+"\n")
	w.git("gc", "-q")
	w.write("notes", slackToken+"\n")
	w.values = [][]byte{[]byte(managed)}
	w.write("more", managed+"\n")
	first := w.search()
	if len(first.Findings) != 4 {
		t.Fatalf("%+v", first.Findings)
	}
	again := w.settle()
	if fmt.Sprint(again.Findings) != fmt.Sprint(first.Findings) {
		t.Errorf("first %+v\nthen %+v", first.Findings, again.Findings)
	}
	// Another value is looked for in what is known, and the old one forgotten.
	w.values = [][]byte{[]byte("another value under management")}
	other := w.search()
	if len(other.Findings) != 3 || other.Count.RuledBytes > 2*int64(len(githubToken)) { // the one object with a finding
		t.Errorf("%+v", other)
	}
	w.values = [][]byte{[]byte(managed)}
	if back := w.search(); len(back.Findings) != 4 {
		t.Errorf("%+v", back.Findings)
	}
	w.remove("notes")
	w.remove(".git")
	w.remove("conf")
	w.remove("more")
	w.clean(w.search())
}

func TestValueThatIsNewIsFoundInWhatIsKnown(t *testing.T) {
	w := newWorkspace(t)
	w.git("init", "-q", "-b", "main")
	w.commit("conf", "so: "+managed+"\n")
	w.git("gc", "-q")
	w.clean(w.settle())
	w.values = [][]byte{[]byte(managed)}
	if r := w.search(); len(r.Findings) != 2 {
		t.Errorf("in the file and in the history: %+v", r.Findings)
	}
}

func TestChangeIsSeenThoughSizeAndTimesAreTheSame(t *testing.T) {
	w := newWorkspace(t)
	w.write("file", strings.Repeat("x", len(githubToken))+"\n")
	w.clean(w.search())
	w.write("file", githubToken+"\n") // within the tick of the clock, or with a new ctime
	w.only(w.search())
}

func TestSearchThatRanOutOfTimeSaysSoAndGoesOn(t *testing.T) {
	w := newWorkspace(t)
	w.write("file", githubToken+"\n")
	w.seconds = 0
	r := w.search()
	if len(r.Uncovered) != 1 || !strings.Contains(r.Uncovered[0].Reason, "goes on") {
		t.Errorf("%+v", r)
	}
	w.seconds = 300
	w.only(w.search())
}

func TestSearchThatRanOutOfTimeForgetsNothing(t *testing.T) {
	w := newWorkspace(t)
	w.git("init", "-q", "-b", "main")
	w.commit("conf", githubToken+"\n")
	w.git("gc", "-q")
	before := w.settle()
	if len(before.Findings) != 2 {
		t.Fatalf("%+v", before.Findings)
	}
	w.seconds = 0
	w.search()
	w.seconds = 300
	after := w.search()
	if fmt.Sprint(after.Findings) != fmt.Sprint(before.Findings) || after.Count.FilesRead != 0 {
		t.Errorf("before %+v\nafter %+v", before.Findings, after)
	}
	// Values that it had no time to look for are looked for the next time.
	w.values, w.seconds = [][]byte{[]byte(githubToken[6:])}, 0
	w.search()
	w.seconds = 300
	if found := w.search().Findings; len(found) != 4 {
		t.Errorf("%+v", found)
	}
}

// git sets the time of a pack when it would write what is in it (freshening).
func TestPackWhoseTimeAloneChangedIsNotReadAgain(t *testing.T) {
	w := newWorkspace(t)
	w.git("init", "-q", "-b", "main")
	w.commit("conf", githubToken+"\n")
	w.git("gc", "-q")
	before := w.settle()
	packs, err := filepath.Glob(filepath.Join(w.dir, ".git/objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	if err := os.Chtimes(packs[0], time.Now(), time.Unix(1_700_000_000, 0)); err != nil {
		t.Fatal(err)
	}
	r := w.search()
	if r.Count.FilesRead != 1 || r.Count.Objects != 0 || fmt.Sprint(r.Findings) != fmt.Sprint(before.Findings) {
		t.Errorf("%+v", r)
	}
	data, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(packs[0], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(packs[0], append(data, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.search(); r.Count.Objects == 0 {
		t.Errorf("another content: %+v", r)
	}
}

package hygiene

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// searcher is who searches here: nobody's account.
const searcher = 61234

// TestMain makes this test binary the search, when it is started as one: it
// says of itself what it sees, or does what the name of its first place says.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "search" {
		if err := probe(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func probe() error {
	var request Request
	data, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &request); err != nil {
		return err
	}
	next := os.NewFile(uintptr(Descriptor(len(request.Places)+1)), "next")
	switch filepath.Base(request.Places[0].Name) {
	case "fails":
		return os.ErrInvalid
	case "hangs":
		select {}
	case "babbles":
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("x", 1<<20)); err != nil {
				return err
			}
		}
	case "says nothing":
		return nil
	}
	var report Report
	say := func(line string) { report.Findings = append(report.Findings, Finding{Path: line}) }
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		say(strings.Join(strings.Fields(line), " "))
	}
	for _, link := range []string{"ns/net", "ns/pid", "ns/ipc", "cwd"} {
		to, err := os.Readlink("/proc/self/" + link)
		if err != nil {
			return err
		}
		say(link + " " + to)
	}
	say(fmt.Sprintf("pid %d, environment %q, arguments %q", os.Getpid(), os.Environ(), os.Args))
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "anon_inode:") {
			say("descriptor " + to)
		}
	}
	old, err := io.ReadAll(os.NewFile(uintptr(Descriptor(len(request.Places))), "old"))
	if err != nil {
		return err
	}
	say("known " + string(old))
	if _, err := next.WriteString(string(old) + "+"); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

func job(t *testing.T, place string) Job {
	t.Helper()
	dir := filepath.Join(t.TempDir(), place)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return Job{Program: "/proc/self/exe", UID: searcher, GID: searcher, Places: []Place{{Name: dir}}, Limit: time.Minute}
}

func TestSearchHasNoRightsBeyondItsPlaces(t *testing.T) {
	j := job(t, "place")
	file := filepath.Join(j.Places[0].Name, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil { // only who opens it may read it
		t.Fatal(err)
	}
	j.Places = append(j.Places, Place{Name: file})
	inherited, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inherited.Close() }()
	report, err := Search(t.Context(), j)
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	for _, f := range report.Findings {
		said[f.Path] = true
	}
	ids := strings.Repeat(fmt.Sprintf(" %d", searcher), 4)
	none := " 0000000000000000"
	for _, want := range []string{"Uid:" + ids, "Gid:" + ids, "Groups:", "CapPrm:" + none, "CapEff:" + none, "CapAmb:" + none, "cwd /",
		`pid 1, environment [], arguments ["creel-check" "search"]`, "descriptor " + j.Places[0].Name, "descriptor " + file} {
		if !said[want] {
			t.Errorf("it does not say %q", want)
		}
	}
	for _, ns := range []string{"ns/net", "ns/pid", "ns/ipc"} {
		own, err := os.Readlink("/proc/self/" + ns)
		if err != nil {
			t.Fatal(err)
		}
		if said[ns+" "+own] {
			t.Errorf("it shares %s", own)
		}
	}
	for line := range said {
		if to, ok := strings.CutPrefix(line, "descriptor "); ok && (strings.Contains(to, "passwd") || strings.Contains(to, "socket")) {
			t.Errorf("it inherited %s", to)
		}
	}
}

func TestPlacesAreOpenedThroughNoLink(t *testing.T) {
	j := job(t, "place")
	link := j.Places[0].Name + "-link"
	if err := os.Symlink(j.Places[0].Name, link); err != nil {
		t.Fatal(err)
	}
	fifo := j.Places[0].Name + "-fifo"
	if err := mkfifo(fifo); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{link: "symlink", j.Places[0].Name + "-none": "no such file", fifo: "neither a directory nor"} {
		bad := j
		bad.Places = []Place{{Name: path}}
		if _, err := Search(t.Context(), bad); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if _, err := Search(t.Context(), j); err != nil {
		t.Errorf("control: %v", err)
	}
}

func TestSearchThatFailsIsNoSearch(t *testing.T) {
	for place, want := range map[string]string{"fails": "exit status 1", "babbles": "search: ", "says nothing": "read report"} {
		t.Run(place, func(t *testing.T) {
			j := job(t, place)
			j.Memory = filepath.Join(t.TempDir(), "memory")
			if err := os.WriteFile(j.Memory, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			if report, err := Search(t.Context(), j); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v, %v, want %q", report, err, want)
			}
			if kept, err := os.ReadFile(j.Memory); err != nil || string(kept) != "old" {
				t.Errorf("what was known is %q, %v", kept, err)
			}
			left, err := filepath.Glob(filepath.Join(filepath.Dir(j.Memory), temporary+"*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestSearchEndsWithWhoAsksForIt(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(time.Millisecond, func() { cancel(os.ErrDeadlineExceeded) })
	if _, err := Search(ctx, job(t, "hangs")); err == nil || !strings.Contains(err.Error(), os.ErrDeadlineExceeded.Error()) {
		t.Errorf("%v", err)
	}
}

func TestWhatIsKnownGoesFromOneSearchToTheNext(t *testing.T) {
	j := job(t, "place")
	j.Memory = filepath.Join(t.TempDir(), "memory")
	for _, want := range []string{"known ", "known +", "known ++"} {
		report, err := Search(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		if last := report.Findings[len(report.Findings)-1].Path; last != want {
			t.Errorf("%q, want %q", last, want)
		}
	}
	info, err := os.Stat(j.Memory)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

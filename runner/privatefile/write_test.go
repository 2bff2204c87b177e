package privatefile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/privatefile/internal/fault"
	"github.com/creel-sandbox/creel/runner/privatefile/privatefiletest"
)

// The order is the promise: the content is on the disk before the name is its.
func TestContentIsOnTheDiskBeforeItsName(t *testing.T) {
	r := newRig(t)
	got, err := privatefiletest.Steps(func() error { return r.write("new content") })
	check(t, err)
	want := []string{"remove what a crash left", "make new file", "write new file", "sync new file", "replace file", "sync directory"}
	if !slices.Equal(got, want) {
		t.Errorf("the steps are %q, want %q", got, want)
	}
}

func TestKilledWriteLeavesTheOldFileOrTheNewOne(t *testing.T) {
	for i, step := range steps {
		r := newRig(t)
		if !privatefiletest.Kill(step.name, func() error { return r.write("new content") }) {
			t.Fatalf("it was not killed before it could %s", step.name)
		}
		want := "old content"
		if i == len(steps)-1 {
			want = "new content"
		}
		r.has("killed before "+step.name, want)
		left, err := os.Lstat(r.file() + partial)
		if there := i >= 2 && i <= 4; there != (err == nil) {
			t.Errorf("killed before %s, a partial file is there: %v", step.name, err == nil)
		}
		if err == nil && left.Mode() != 0o600 {
			t.Errorf("killed before %s, the partial file has mode %v", step.name, left.Mode())
		}
		// It is no file, and the next write leaves nothing of it.
		check(t, r.with(func(d *Dir) error {
			names, err := d.Names()
			if !slices.Equal(names, []string{name}) {
				t.Errorf("killed before %s, it lists %q", step.name, names)
			}
			return err
		}))
		check(t, r.write("third content"))
		r.has("after that", "third content")
		if names := r.names(); !slices.Equal(names, []string{name}) {
			t.Errorf("killed before %s, and after a write there is %q", step.name, names)
		}
	}
}

func TestFirstWriteThatIsKilledLeavesNoFile(t *testing.T) {
	for _, step := range steps[:5] {
		r := newRig(t)
		check(t, os.Remove(r.file()))
		if !privatefiletest.Kill(step.name, func() error { return r.write("new content") }) {
			t.Fatalf("it was not killed before it could %s", step.name)
		}
		if _, err := r.read(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("killed before %s: %v", step.name, err)
		}
	}
}

func TestWriteThatFailsSaysWhereAndLeavesTheOldFile(t *testing.T) {
	for i, step := range steps {
		r := newRig(t)
		err := privatefiletest.Fail(step.name, unix.ENOSPC, func() error { return r.write("new content") })
		refused(t, step.name, err, step.name+" in "+r.path)
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v is not its cause", step.name, err)
		}
		want := "old content"
		if i == len(steps)-1 { // it is said that it may not last
			want = "new content"
		}
		r.has("failed to "+step.name, want)
		if names := r.names(); !slices.Equal(names, []string{name}) {
			t.Errorf("failed to %s: there is %q", step.name, names)
		}
	}
}

// A full disk, of which the kernel itself tells.
func TestWriteThatTheDiskRefusesLeavesTheOldFile(t *testing.T) {
	r := newRig(t)
	small := t.TempDir()
	check(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=16k,mode=0700"))
	t.Cleanup(func() { check(t, unix.Unmount(small, unix.MNT_DETACH)) })
	r.path = small
	check(t, r.write("old content"))
	refused(t, "1 MiB", r.write(strings.Repeat("x", 1<<20)), "write new file in "+small+": no space left")
	r.has("after that", "old content")
	check(t, r.write("new content"))
	r.has("control", "new content")
}

// What was put in the place of the file, or of what becomes it, is replaced and
// never written through.
func TestWriteFollowsNothing(t *testing.T) {
	for _, at := range []string{name, name + partial} {
		r := newRig(t)
		target := filepath.Join(t.TempDir(), "target")
		check(t, os.WriteFile(target, []byte("untouched"), 0o600))
		for kind, put := range map[string]func(string) error{
			"symlink":   func(path string) error { return os.Symlink(target, path) },
			"hard link": func(path string) error { return os.Link(target, path) },
			"FIFO":      func(path string) error { return unix.Mkfifo(path, 0o600) },
		} {
			path := filepath.Join(r.path, at)
			check(t, errors.Join(os.RemoveAll(path), put(path)))
			check(t, r.write("new content"))
			r.has(kind+" at "+at, "new content")
			if data, err := os.ReadFile(target); err != nil || string(data) != "untouched" {
				t.Errorf("%s at %s: its target holds %q, %v", kind, at, data, err)
			}
			if info, err := os.Lstat(r.file()); err != nil || info.Mode() != 0o600 {
				t.Errorf("%s at %s: the file is %v, %v", kind, at, info.Mode(), err)
			}
		}
	}
}

func TestWhatAppearsInTheMidstOfAWriteIsNotWrittenInto(t *testing.T) {
	r := newRig(t)
	target := filepath.Join(t.TempDir(), "target")
	check(t, os.WriteFile(target, []byte("untouched"), 0o600))
	usual := fault.Before
	defer func() { fault.Before = usual }()
	fault.Before = func(step string) error {
		if step != "make new file" {
			return nil
		}
		return os.Link(target, r.file()+partial)
	}
	refused(t, "a link that came after the sweep", r.write("new content"), "make new file in "+r.path+": file exists")
	fault.Before = usual
	if data, err := os.ReadFile(target); err != nil || string(data) != "untouched" {
		t.Errorf("the link's target holds %q, %v", data, err)
	}
	r.has("after that", "old content")
	check(t, r.write("new content"))
	r.has("control", "new content")
}

func TestSweepRemovesWhatCrashesLeftAndNothingElse(t *testing.T) {
	r := newRig(t)
	for _, left := range []string{"a.json" + partial, "b.json" + partial, "kept", "a.json"} {
		check(t, os.WriteFile(filepath.Join(r.path, left), []byte("content"), 0o600))
	}
	want := []string{"a.json", name, "kept"}
	check(t, r.with(func(d *Dir) error {
		for _, when := range []string{"before", "after"} {
			if names, err := d.Names(); err != nil || !slices.Equal(names, want) {
				t.Errorf("listed %s: %q, %v", when, names, err)
			}
			check(t, d.Sweep())
		}
		return nil
	}))
	if names := r.names(); !slices.Equal(names, want) {
		t.Errorf("it left %q", names)
	}
	check(t, os.Mkdir(filepath.Join(r.path, "d"+partial), 0o700))
	refused(t, "what it cannot remove", r.with((*Dir).Sweep), "d"+partial)
}

func TestReaderSeesTheOldFileOrTheNewOneWhole(t *testing.T) {
	r := newRig(t)
	contents := []string{strings.Repeat("a", 1000), strings.Repeat("b", 400)}
	check(t, r.write(contents[0]))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		var err error
		for i := 0; ctx.Err() == nil && err == nil; i++ {
			err = r.write(contents[i%2])
		}
		done <- err
	}()
	seen := map[string]bool{}
	for i := 0; i < 1000 || len(seen) < 2; i++ { // until it saw one replace the other
		got, err := r.read()
		if err != nil || !slices.Contains(contents, got) {
			t.Errorf("it read %d bytes, %v", len(got), err)
			break
		}
		seen[got] = true
	}
	stop()
	check(t, <-done)
}

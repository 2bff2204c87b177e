package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/privatefile/privatefiletest"
)

const (
	idA     = digestPrefix + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB     = digestPrefix + "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	digestM = digestPrefix + "1111111111111111111111111111111111111111111111111111111111111111"
	digestI = digestPrefix + "2222222222222222222222222222222222222222222222222222222222222222"
	absent  = digestPrefix + "0000000000000000000000000000000000000000000000000000000000000000"
)

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "images"))
	check(t, err)
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Store) writer(t testing.TB) *Writer {
	t.Helper()
	w, err := s.Write(t.Context(), nil)
	check(t, err)
	return w
}

// add puts an image with one file into the store.
func (s *Store) add(t testing.TB, id string, names ...string) {
	t.Helper()
	w := s.writer(t)
	defer w.Close()
	d, err := w.Draft()
	check(t, err)
	check(t, os.WriteFile(filepath.Join(d.Path, "image", rootName, "id"), []byte(id), 0o644))
	check(t, d.Commit(Info{ID: id, Size: 71, Entries: 1, Unpacked: time.Now()}))
	check(t, w.Name(id, names...))
	check(t, d.Close())
}

func TestReferenceFindsTheImageItMeans(t *testing.T) {
	s := newStore(t)
	s.add(t, idA, "debian:12", "debian@"+digestM, "debian@"+digestI, "localhost:5000/own/tools:1.0")
	s.add(t, idB, "busybox")
	for reference, want := range map[string]string{
		"debian:12": idA, "docker.io/library/debian:12": idA, "index.docker.io/debian:12": idA,
		"debian@" + digestM: idA, "debian@" + digestI: idA, "debian@" + idA: idA, "debian:12@" + digestM: idA, idA: idA,
		"localhost:5000/own/tools:1.0": idA, "busybox": idB, "busybox:latest": idB, "anything@" + idB: idB,
		"debian:13": "", "debian": "", "own/tools:1.0": "", "debian@" + absent: "", absent: "", "debian:12@" + absent: "",
	} {
		image, err := s.Resolve(reference)
		var missing *NotFoundError
		switch {
		case want == "" && !errors.As(err, &missing):
			t.Errorf("%s: got %v, %v", reference, image, err)
		case want != "" && err != nil:
			t.Errorf("%s: %v", reference, err)
		case want != "":
			if data, err := os.ReadFile(filepath.Join(image.Dir, "id")); err != nil || string(data) != want || image.ID != want {
				t.Errorf("%s: got %s with %q, want %s", reference, image.ID, data, want)
			}
			if same, err := isEntry(os.NewFile(^uintptr(0), ""), image.Dir, image.Root); err != nil || !same {
				t.Errorf("%s: Root is not Dir: %v", reference, err)
			}
			if _, digest, ok := strings.Cut(reference, "@"); ok && image.Digest != digest {
				t.Errorf("%s: Digest is %s", reference, image.Digest)
			}
			check(t, image.Release())
		}
	}
	for _, reference := range []string{"", "..", "../../etc:1", "/etc", "UPPER:1", "a@sha256:12", "none", digestPrefix + "..", "a@sha512:" + strings.Repeat("a", 128)} {
		if image, err := s.Resolve(reference); err == nil {
			t.Errorf("%q: found %v", reference, image)
		}
	}
}

func TestNameMovesToTheImageThatLastGotIt(t *testing.T) {
	s := newStore(t)
	s.add(t, idA, "tools:1", "tools@"+digestM)
	s.add(t, idB, "tools:1")
	list, err := s.List()
	check(t, err)
	got := map[string][]string{}
	for _, info := range list {
		got[info.ID] = info.Names
	}
	if diff := cmp.Diff(map[string][]string{idA: {"tools@" + digestM}, idB: {"tools:1"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPinIsWhatAPolicyCanName(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"tools:1", "tools@" + digestM}, "tools@" + digestM},
		{[]string{"own.example/tools:1"}, "own.example/tools@" + idA},
		{nil, idA},
	} {
		info := Info{ID: idA, Names: c.names}
		if got := info.Pin(); got != c.want {
			t.Errorf("%v: %s, want %s", c.names, got, c.want)
		}
		if !strings.HasSuffix(c.want, info.Digest()) {
			t.Errorf("%v: digest %s", c.names, info.Digest())
		}
	}
}

func TestImageInUseIsNotRemoved(t *testing.T) {
	s := newStore(t)
	s.add(t, idA, "tools:1")
	first, err := s.Resolve("tools:1")
	check(t, err)
	second, err := s.Resolve("tools:1")
	check(t, err)
	w := s.writer(t)
	defer w.Close()
	for _, image := range []*Image{first, second} {
		if err := w.Remove(idA); !errors.Is(err, ErrInUse) {
			t.Errorf("got %v", err)
		}
		check(t, image.Release())
	}
	check(t, w.Remove(idA))
	var missing *NotFoundError
	if err := w.Remove(idA); !errors.As(err, &missing) {
		t.Errorf("removed twice: %v", err)
	}
	if _, err := s.Resolve("tools:1"); !errors.As(err, &missing) {
		t.Errorf("found after its removal: %v", err)
	}
	entries, err := os.ReadDir(s.dir)
	check(t, err)
	if len(entries) != 2 { // lock and names.json
		t.Errorf("left: %v", entries)
	}
}

// TestResolveAndRemoveNeverShare lets both race: whoever holds an image has
// all of it.
func TestResolveAndRemoveNeverShare(t *testing.T) {
	s := newStore(t)
	found := 0
	for range 100 {
		s.add(t, idA, "tools:1")
		removed := make(chan error)
		go func() {
			w, err := s.Write(context.Background(), nil)
			if err == nil {
				if err = w.Remove(idA); errors.Is(err, ErrInUse) {
					err = nil
				}
				err = errors.Join(err, w.Close())
			}
			removed <- err
		}()
		image, err := s.Resolve("tools:1")
		check(t, <-removed)
		var missing *NotFoundError
		if errors.As(err, &missing) {
			continue
		}
		check(t, err)
		found++
		if _, err := os.Stat(filepath.Join(image.Dir, "id")); err != nil {
			t.Fatal(err)
		}
		check(t, image.Release())
		w := s.writer(t)
		check(t, w.Remove(idA))
		check(t, w.Close())
	}
	t.Logf("held in %d of 100", found)
}

func TestStoreThatOthersCanEnterIsRefused(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o700))
	_, err := Open(dir) // the control
	check(t, err)
	check(t, os.Symlink(dir, dir+"/link"))
	for what, spoil := range map[string]func() string{
		"mode":     func() string { check(t, os.Chmod(dir, 0o710)); return dir },
		"owner":    func() string { check(t, os.Chmod(dir, 0o700)); check(t, os.Chown(dir, 1, 1)); return dir },
		"symlink":  func() string { return dir + "/link" },
		"relative": func() string { return "images" },
		"file":     func() string { check(t, os.WriteFile(dir+"/file", nil, 0o600)); return dir + "/file" },
	} {
		if _, err := Open(spoil()); err == nil {
			t.Errorf("%s: not refused", what)
		}
		check(t, os.Chown(dir, 0, 0))
		check(t, os.Chmod(dir, 0o700))
	}
}

func TestNothingHalfDoneCounts(t *testing.T) {
	s := newStore(t)
	s.add(t, idB, "kept:1")
	w := s.writer(t)
	d, err := w.Draft()
	check(t, err)
	check(t, os.WriteFile(filepath.Join(d.Path, "blob"), []byte("half"), 0o600))
	check(t, w.Close()) // as a kill does: the draft stays
	list, err := s.List()
	check(t, err)
	if len(list) != 1 || list[0].ID != idB {
		t.Errorf("a draft counts: %v", list)
	}
	w = s.writer(t)
	defer w.Close()
	if _, err := os.Stat(d.Path); !errors.Is(err, unix.ENOENT) {
		t.Errorf("left behind: %v", err)
	}
	image, err := s.Resolve("kept:1")
	check(t, err)
	check(t, image.Release())
}

func TestNamesAreTheOldOrTheNewOnesWhateverEndsAChange(t *testing.T) {
	s := newStore(t)
	s.add(t, idA, "tools:1")
	s.add(t, idB)
	change := func(name, id string) func() error {
		return func() error {
			w := s.writer(t)
			defer w.Close()
			return w.Name(id, name)
		}
	}
	means := func(when, name, want string) {
		t.Helper()
		image, err := s.Resolve(name)
		if err != nil || image.ID != want {
			t.Fatalf("%s: %s means %v, %v; want %s", when, name, image, err, want)
		}
		check(t, image.Release())
	}
	steps, err := privatefiletest.Steps(change("tools:1", idA))
	check(t, err)
	replaced := slices.Index(steps, "replace file")
	for i, step := range steps {
		want := idA
		if i > replaced {
			want = idB
		}
		if !privatefiletest.Kill(step, change("tools:1", idB)) {
			t.Fatalf("it was not killed before it could %s", step)
		}
		means("killed before "+step, "tools:1", want)
		check(t, change("tools:1", idA)())
		if err := privatefiletest.Fail(step, unix.ENOSPC, change("tools:1", idB)); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%s: %v", step, err)
		}
		means("failed to "+step, "tools:1", want)
		check(t, change("tools:1", idA)())
		means("after that", "tools:1", idA)
		if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 4 { // lock, names.json, two images
			t.Errorf("after %s there is %v, %v", step, entries, err)
		}
	}
}

func TestRecordOfAnImageIsWrittenThroughNothing(t *testing.T) {
	s := newStore(t)
	for _, put := range []func(path string) error{
		func(path string) error { return os.Symlink(filepath.Join(t.TempDir(), "target"), path) },
		func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		w := s.writer(t)
		d, err := w.Draft()
		check(t, err)
		check(t, put(filepath.Join(d.Path, "image", recordName)))
		if err := d.Commit(Info{ID: idA}); !errors.Is(err, unix.EEXIST) {
			t.Errorf("got %v", err)
		}
		check(t, errors.Join(d.Close(), w.Close()))
	}
	s.add(t, idA, "tools:1") // the control
}

func TestSecondWriterWaits(t *testing.T) {
	s := newStore(t)
	w := s.writer(t)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Write(ctx, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("two writers at once: %v", err)
	}
	go func() { check(t, w.Close()) }()
	second := s.writer(t)
	check(t, second.Close())
}

func TestRecordOfAnotherImageIsRefused(t *testing.T) {
	s := newStore(t)
	s.add(t, idA, "tools:1")
	check(t, os.Rename(filepath.Join(s.dir, hexOf(idA)), filepath.Join(s.dir, hexOf(idB))))
	if image, err := s.Resolve(idB); err == nil || !strings.Contains(err.Error(), "it is the record of") {
		t.Errorf("got %v, %v", image, err)
	}
}

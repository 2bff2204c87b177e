package privatefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const name = "book.json"

// rig is a directory that one file was written in.
type rig struct {
	t    *testing.T
	path string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t, filepath.Join(t.TempDir(), "state", "book")}
	d, err := Make(r.path)
	check(t, err)
	d.Close()
	check(t, r.write("old content"))
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants an error that says something, and nothing of what is in the file.
func refused(t *testing.T, what string, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "content") {
		t.Errorf("%s: %v; want an error with %q", what, err, words)
	}
}

func (r *rig) file() string { return filepath.Join(r.path, name) }

// with opens the directory for one thing.
func (r *rig) with(do func(*Dir) error) error {
	d, err := Open(r.path)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(d)
}

func (r *rig) write(content string) error {
	return r.with(func(d *Dir) error { return d.Write(name, []byte(content)) })
}

func (r *rig) read() (content string, err error) {
	err = r.with(func(d *Dir) error {
		data, err := d.Read(name, 1<<10)
		content = string(data)
		return err
	})
	return content, err
}

func (r *rig) has(what, want string) {
	r.t.Helper()
	if got, err := r.read(); err != nil || got != want {
		r.t.Errorf("%s: it holds %q, want %q (%v)", what, got, want, err)
	}
}

func (r *rig) names() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.path)
	check(r.t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestWhatIsMadeIsForItsOwnerAlone(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	r := newRig(t)
	for path, want := range map[string]fs.FileMode{
		filepath.Dir(r.path): 0o711 | fs.ModeDir, r.path: 0o700 | fs.ModeDir, r.file(): 0o600,
	} {
		info, err := os.Lstat(path)
		check(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

func TestWhatAnotherUserOwnsOrMayUseIsRefused(t *testing.T) {
	r := newRig(t)
	for bit := fs.FileMode(0o001); bit < 0o100; bit <<= 1 {
		for path, mode := range map[string]fs.FileMode{r.path: 0o700, r.file(): 0o600} {
			check(t, os.Chmod(path, mode|bit))
			_, err := r.read()
			refused(t, path, err, fmt.Sprintf("mode %04o lets others use it; chmod %04o", mode|bit, mode))
			check(t, os.Chmod(path, mode))
			r.has(path+" with its mode again", "old content")
		}
	}
	for _, path := range []string{r.path, r.file()} {
		check(t, os.Chown(path, 12345, 0))
		_, err := r.read()
		refused(t, path, err, "owned by uid 12345")
		check(t, os.Chown(path, os.Geteuid(), 0))
		r.has(path+" with its owner again", "old content")
	}
}

// Make is as strict with a directory that there is, and Write with the one it is
// to write in.
func TestDirectoryThatIsRefusedIsNotMadeGoodOrWrittenIn(t *testing.T) {
	r := newRig(t)
	check(t, os.Chmod(r.path, 0o750))
	_, err := Make(r.path)
	refused(t, "make", err, "0750")
	refused(t, "write", r.write("new content"), "0750")
	check(t, os.Chmod(r.path, 0o700))
	r.has("control", "old content")
	check(t, r.write("new content"))
	r.has("control", "new content")
}

func TestFileOfAnotherKindIsRefused(t *testing.T) {
	r := newRig(t)
	aside := r.path + ".aside"
	check(t, r.with(func(d *Dir) error { return d.Write("other", []byte("other content")) }))
	for kind, c := range map[string]struct {
		put   func() error
		words string
	}{
		"symlink to a good file":   {func() error { return os.Symlink(aside, r.file()) }, "open " + r.file()},
		"symlink to one beside it": {func() error { return os.Symlink("other", r.file()) }, "open " + r.file()},
		"FIFO":                     {func() error { return unix.Mkfifo(r.file(), 0o600) }, "not of the kind"},
		"directory":                {func() error { return os.Mkdir(r.file(), 0o700) }, "not of the kind"},
		"device":                   {func() error { return unix.Mknod(r.file(), unix.S_IFCHR|0o600, 1<<8|5) }, "not of the kind"}, // /dev/zero
	} {
		check(t, os.Rename(r.file(), aside))
		check(t, c.put())
		_, err := r.read()
		refused(t, kind, err, c.words)
		check(t, errors.Join(os.Remove(r.file()), os.Rename(aside, r.file())))
		r.has("instead of a "+kind, "old content")
	}
}

func TestPathThroughASymlinkOrNotCleanIsRefused(t *testing.T) {
	r := newRig(t)
	links := t.TempDir()
	check(t, os.Symlink(r.path, links+"/last"))
	check(t, os.Symlink(filepath.Dir(r.path), links+"/above"))
	t.Chdir(filepath.Dir(r.path))
	for _, path := range []string{links + "/last", links + "/above/book", r.path + "/", r.path + "/../book", "book", "", "/proc/self/cwd/book"} {
		for what, open := range map[string]func(string) (*Dir, error){"make ": Make, "open ": Open} {
			d, err := open(path)
			refused(t, what+path, err, "")
			if err == nil {
				d.Close()
			}
		}
	}
	r.has("control", "old content")
}

func TestNameLeadsNowhereElse(t *testing.T) {
	r := newRig(t)
	outside := filepath.Join(filepath.Dir(r.path), "outside")
	check(t, os.WriteFile(outside, []byte("outside"), 0o600))
	check(t, os.Mkdir(filepath.Join(r.path, "below"), 0o700))
	for _, name := range []string{"../outside", outside, "below/file", "", ".", "..", "a\x00b", name + partial} {
		for what, use := range map[string]func(*Dir) error{
			"read ":   func(d *Dir) error { _, err := d.Read(name, 1<<10); return err },
			"write ":  func(d *Dir) error { return d.Write(name, []byte("x")) },
			"remove ": func(d *Dir) error { return d.Remove(name) },
		} {
			refused(t, what+name, r.with(use), "is no name of a file")
		}
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "outside" {
		t.Errorf("what is outside: %q, %v", data, err)
	}
	if names := r.names(); !slices.Equal(names, []string{"below", name}) {
		t.Errorf("the directory holds %q", names)
	}
}

func TestWhatThereIsNotIsSaidToBeMissing(t *testing.T) {
	r := newRig(t)
	none := func(d *Dir) error { _, err := d.Read("none", 1); return err }
	for what, err := range map[string]error{
		"directory": (&rig{t, r.path + "none"}).with(none), "file": r.with(none),
		"file to remove": r.with(func(d *Dir) error { return d.Remove("none") }),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check(t, os.Chmod(r.file(), 0o644))
	if _, err := r.read(); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("control: one that is refused: %v", err)
	}
	check(t, r.with(func(d *Dir) error { return d.Remove(name) }))
	if names := r.names(); len(names) != 0 {
		t.Errorf("after it was removed there is %q", names)
	}
}

func TestFileIsReadWholeOrNotAtAll(t *testing.T) {
	r := newRig(t)
	for _, size := range []int{0, 1, 4 << 10, 1 << 20} {
		content := strings.Repeat("x", size)
		check(t, r.write(content))
		check(t, r.with(func(d *Dir) error {
			data, err := d.Read(name, int64(size))
			if err != nil || string(data) != content {
				t.Errorf("of %d bytes %d were read: %v", size, len(data), err)
			}
			if _, err = d.Read(name, int64(size)-1); size > 0 {
				refused(t, fmt.Sprintf("%d bytes", size), err, "are the most that creel writes")
			}
			return nil
		}))
	}
}

func TestLockIsOneHoldersUntilItCloses(t *testing.T) {
	r := newRig(t)
	holder, err := Open(r.path)
	check(t, err)
	check(t, holder.Lock(0))
	refused(t, "another", r.with(func(d *Dir) error { return d.Lock(0) }), "another process holds it")
	check(t, newRig(t).with(func(d *Dir) error { return d.Lock(0) })) // that of another directory
	check(t, r.write("new content"))
	r.has("writing needs none by itself", "new content")
	holder.Close()
	check(t, r.with(func(d *Dir) error { return d.Lock(0) }))
}

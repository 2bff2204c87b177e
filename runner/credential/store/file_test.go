package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/privatefile"
	"github.com/creel-sandbox/creel/runner/privatefile/privatefiletest"
)

func TestFileAndDirectoryAreForTheirOwnerAlone(t *testing.T) {
	r := newRig(t)
	old := unix.Umask(0)
	r.set("token", "first value")
	unix.Umask(old)
	for path, want := range map[string]os.FileMode{r.dir: 0o700 | os.ModeDir, r.file(): 0o600} {
		st, err := os.Lstat(path)
		check(t, err)
		if st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, st.Mode(), want)
		}
	}
	for _, spoil := range []struct {
		name    string
		do      func() error
		undo    func() error
		message string
	}{
		{"others may read the file", func() error { return os.Chmod(r.file(), 0o604) }, func() error { return os.Chmod(r.file(), 0o600) }, "0604"},
		{"a group may read the file", func() error { return os.Chmod(r.file(), 0o640) }, func() error { return os.Chmod(r.file(), 0o400) }, "0640"},
		{"others may list the directory", func() error { return os.Chmod(r.dir, 0o701) }, func() error { return os.Chmod(r.dir, 0o700) }, "0701"},
		{"the file is another user's", func() error { return os.Chown(r.file(), 12345, 0) }, func() error { return os.Chown(r.file(), 0, 0) }, "uid 12345"},
		{"the directory is another user's", func() error { return os.Chown(r.dir, 12345, 0) }, func() error { return os.Chown(r.dir, 0, 0) }, "uid 12345"},
		{"the file is a symlink", r.swap(func(to string) error { return os.Symlink(to, r.file()) }), r.unswap, "secrets.age"},
		{"the file is a FIFO", r.swap(func(string) error { return unix.Mkfifo(r.file(), 0o600) }), r.unswap, "not of the kind"},
		{"the file is a directory", r.swap(func(string) error { return os.Mkdir(r.file(), 0o700) }), r.unswap, "not of the kind"},
	} {
		check(t, spoil.do())
		_, err := r.fetch("token")
		refuses(t, err, spoil.message)
		_, err = r.List()
		refuses(t, err, spoil.message)
		refuses(t, r.Set("more", secret("second value")), spoil.message)
		refuses(t, r.Remove("token"), spoil.message)
		check(t, spoil.undo())
		if got, err := r.fetch("token"); err != nil || got != "first value" {
			t.Errorf("%s: mended, it gives %q, %v", spoil.name, got, err)
		}
	}
}

// swap puts something else in the file's place, and unswap puts it back.
func (r *rig) swap(with func(to string) error) func() error {
	return func() error {
		aside := r.dir + ".aside"
		return errors.Join(os.Rename(r.file(), aside), with(aside))
	}
}

func (r *rig) unswap() error {
	return errors.Join(os.Remove(r.file()), os.Rename(r.dir+".aside", r.file()))
}

func TestDirectoryIsReachedWithoutASymlink(t *testing.T) {
	r := newRig(t)
	r.set("token", "first value")
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(r.dir, link))
	for _, dir := range []string{link, r.dir + "/", r.dir + "/../secrets", "secrets"} {
		cfg := r.cfg
		cfg.Dir = dir
		_, err := New(cfg).List()
		refuses(t, err)
		refuses(t, New(cfg).Set("more", secret("second value")))
	}
	r.has("token", "first value")
}

// changeSteps are those of a change, and after is how many there are before the
// new file has the old one's name.
func changeSteps(t *testing.T) (steps []string, after int) {
	t.Helper()
	r := newRig(t)
	steps, err := privatefiletest.Steps(func() error { return r.Set("token", secret("first value")) })
	check(t, err)
	after = slices.Index(steps, "replace file") + 1
	if after == 0 || len(steps) != 6 {
		t.Fatalf("the steps of a change are %q", steps)
	}
	return steps, after
}

func TestCrashLeavesTheOldFileOrTheNewOne(t *testing.T) {
	all, replaced := changeSteps(t)
	for steps := range len(all) + 1 {
		r := newRig(t)
		r.set("token", "old value")
		add := func() error { return r.Set("new", secret("new value")) }
		if steps == len(all) {
			check(t, add())
		} else if !privatefiletest.Kill(all[steps], add) {
			t.Fatalf("it was not killed before it could %s", all[steps])
		}

		r.has("token", "old value")
		_, err := r.fetch("new")
		if renamed := steps >= replaced; renamed != (err == nil) {
			t.Errorf("after %d steps the new secret is there: %v", steps, err == nil)
		}
		left, err := os.ReadFile(r.partial())
		if (err == nil) != (steps >= 2 && steps < replaced) {
			t.Errorf("after %d steps there is a partial file: %v", steps, err == nil)
		}
		if written := steps >= 3 && steps < replaced; written != (len(left) > 0) {
			t.Errorf("after %d steps the partial file has %d bytes", steps, len(left))
		}
		if len(left) > 0 && !bytes.HasPrefix(left, []byte("age-encryption.org/v1\n")) {
			t.Errorf("after %d steps the partial file is not encrypted", steps)
		}
		// The next change works, and leaves nothing of it.
		r.set("after", "third value")
		r.has("token", "old value")
		r.has("after", "third value")
		if _, err := os.Lstat(r.partial()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after %d steps and a change a partial file is left: %v", steps, err)
		}
	}
}

func TestSecondChangeWaitsAndIsThenRefused(t *testing.T) {
	r := newRig(t)
	r.set("token", "first value")
	holder, err := privatefile.Open(r.dir) // as another process does
	check(t, err)
	check(t, holder.Lock(0))
	other, err := privatefile.Open(r.dir)
	check(t, err)
	defer other.Close()
	refuses(t, other.Lock(0), "another process holds it")
	r.has("token", "first value") // reading needs no lock
	done := make(chan error)
	go func() { done <- r.Rotate("token", secret("second value")) }()
	holder.Close()
	check(t, <-done)
	r.has("token", "second value")
}

func TestChangeThatFailsLeavesTheOldFileAlone(t *testing.T) {
	steps, _ := changeSteps(t)
	for _, step := range steps {
		r := newRig(t)
		r.set("token", "old value")
		err := privatefiletest.Fail(step, unix.ENOSPC, func() error { return r.Rotate("token", secret("new value")) })
		refuses(t, err, "no space left", step)
		want := "old value"
		if step == "sync directory" { // it is said that it may not last
			want = "new value"
		}
		r.has("token", want)
		if _, err := os.Lstat(r.partial()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a partial file is left: %v", step, err)
		}
	}
}

func TestChangedFileIsRefused(t *testing.T) {
	r := newRig(t)
	r.set("token", "first value")
	whole, err := os.ReadFile(r.file())
	check(t, err)
	try := func(says string, data []byte) {
		t.Helper()
		check(t, os.WriteFile(r.file(), data, 0o600))
		_, err := r.fetch("token")
		refuses(t, err, says)
		refuses(t, r.Set("more", secret("second value")), says) // and it was not overwritten
	}
	for i := 0; i < len(whole); i += 61 {
		data := bytes.Clone(whole)
		data[i] ^= 1
		try("read store of secrets", data)
	}
	for _, length := range []int{0, 1, 100, len(whole) - block, len(whole) - 1} {
		try("decrypt", whole[:length])
	}
	try("decrypt", append(bytes.Clone(whole), 0))
	try("another key", encryptedTo(t, mustKey(t), "{}"))
	own, err := parseKey([]byte(r.key))
	check(t, err)
	try("not in the form", encryptedTo(t, own, "{}{}"))
	try("are the most that creel writes", make([]byte, maxFile+1))
	check(t, os.WriteFile(r.file(), whole, 0o600))
	r.has("token", "first value")
}

func mustKey(t *testing.T) *key {
	t.Helper()
	text, err := NewKey()
	check(t, err)
	key, err := parseKey([]byte(text))
	check(t, err)
	return key
}

// encryptedTo is what age makes of any text.
func encryptedTo(t *testing.T, key *key, text string) []byte {
	t.Helper()
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, key.recipient)
	check(t, err)
	_, err = w.Write([]byte(text))
	check(t, errors.Join(err, w.Close()))
	return sealed.Bytes()
}

func TestOtherKeyOpensNothingAndOverwritesNothing(t *testing.T) {
	r := newRig(t)
	r.set("token", "first value")
	own := r.key
	r.key, _ = NewKey()
	_, err := r.fetch("token")
	refuses(t, err, "another key")
	refuses(t, r.Set("more", secret("second value")), "another key")
	if strings.Contains(err.Error(), "age1") {
		t.Errorf("the error names a recipient: %v", err)
	}
	r.key = ""
	_, err = r.List()
	refuses(t, err, "there is no key")
	refuses(t, r.Remove("token"), "there is no key")
	r.key = own
	r.has("token", "first value")
}

func TestOneKeyOfAgeIsAKey(t *testing.T) {
	hybrid, err := NewKey()
	check(t, err)
	classic, err := age.GenerateX25519Identity()
	check(t, err)
	if !strings.HasPrefix(hybrid, "AGE-SECRET-KEY-PQ-1") {
		t.Error("a new key is not of the post-quantum kind")
	}
	for _, text := range []string{hybrid, classic.String(), "# a comment\n\n" + hybrid} {
		r := newRig(t)
		r.key = text
		r.set("token", "first value")
		r.has("token", "first value")
	}
	cut := strings.TrimSpace(hybrid)
	for _, text := range []string{
		"", "canary", cut[:len(cut)-1], strings.Replace(cut, "Q", "QX", 1), hybrid + hybrid, hybrid + classic.String(), "age1" + strings.Repeat("q", 58),
		"AGE-PLUGIN-YUBIKEY-1QQQQQQQQ", strings.ToLower(cut), cut + " canary",
	} {
		_, err := parseKey([]byte(text))
		refuses(t, err, "one age identity")
		if strings.Contains(err.Error(), "canary") || len(text) > 20 && strings.Contains(err.Error(), text[10:20]) {
			t.Errorf("the error quotes the text: %v", err)
		}
	}
}

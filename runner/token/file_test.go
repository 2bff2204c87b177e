package token

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/privatefile/privatefiletest"
	"github.com/creel-sandbox/creel/runner/token/text"
)

// holds says whether anything below a directory holds a text, in any of some
// forms, file names too.
func holds(t *testing.T, dir, token string) bool {
	t.Helper()
	found := false
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		data = append(data, path...)
		body := token[len(text.Prefix):]
		for _, form := range []string{body, strings.ToUpper(body), hex.EncodeToString([]byte(body)), base64.RawStdEncoding.EncodeToString([]byte(token))[:64]} {
			found = found || bytes.Contains(data, []byte(form))
		}
		return err
	}))
	return found
}

func TestNoByteOfATokenIsKept(t *testing.T) {
	r := newRig(t)
	token := r.create("ci", time.Hour)
	r.good(token, "ci")
	next := r.rotate("ci")
	r.refused(token+"x", ErrUnknown)
	r.refused(token, ErrUnknown)
	check(t, r.Close())
	for _, one := range []string{token, next} {
		if holds(t, r.dir, one) || strings.Contains(r.log.String(), one[6:]) {
			t.Error("the token is in the book's directory, or in the log")
		}
	}
	check(t, os.WriteFile(r.dir+"/control", []byte("a token: "+token), 0o600))
	if !holds(t, r.dir, token) {
		t.Error("control: one that is there is not found")
	}
	if info, err := os.Stat(r.dir + "/" + fileName); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(r.dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestLastUseIsRemembered(t *testing.T) {
	r := newRig(t)
	token := r.create("ci", time.Hour)
	if got := r.List()[0]; !got.Used.IsZero() {
		t.Errorf("used before it was: %+v", got)
	}
	r.at(time.Minute)
	r.good(token, "ci")
	r.refused(token+"x", ErrUnknown)
	if got := r.List()[0]; got.Used != day.Add(time.Minute) {
		t.Errorf("used %v", got.Used)
	}
	r.reopen()
	if got := r.List()[0]; got.Used != day.Add(time.Minute) {
		t.Errorf("after a restart: used %v", got.Used)
	}
}

func TestBookThatOthersCanReadOrThatIsOddIsRefused(t *testing.T) {
	r := newRig(t)
	r.create("ci", time.Hour)
	check(t, r.Close())
	path := filepath.Join(r.dir, fileName)
	whole, err := os.ReadFile(path)
	check(t, err)
	opens := func() error {
		book, err := Open(Config{Dir: r.dir, Now: r.clock, Log: logrus.New()})
		if err == nil {
			book.Close()
		}
		return err
	}
	for name, c := range map[string]struct {
		do, undo func() error
		words    string
	}{
		"file of mode 0640":      {func() error { return os.Chmod(path, 0o640) }, func() error { return os.Chmod(path, 0o600) }, "0640"},
		"directory of mode 0711": {func() error { return os.Chmod(r.dir, 0o711) }, func() error { return os.Chmod(r.dir, 0o700) }, "0711"},
		"another's file":         {func() error { return os.Chown(path, 1, 0) }, func() error { return os.Chown(path, 0, 0) }, "uid 1"},
		"FIFO":                   {func() error { os.Remove(path); return unix.Mkfifo(path, 0o600) }, func() error { os.Remove(path); return os.WriteFile(path, whole, 0o600) }, "not of the kind"},
		"symlink":                {func() error { os.Remove(path); return os.Symlink("/etc/hostname", path) }, func() error { os.Remove(path); return os.WriteFile(path, whole, 0o600) }, ""},
	} {
		check(t, c.do())
		if err := opens(); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
		check(t, c.undo())
	}
	for _, c := range [][2]string{
		{`"version": 1`, `"version": 2`}, {`"version": 1`, `"version": 1, "extra": 1`}, {`"name": "ci"`, `"name": "C I"`},
		{`"sha256": "`, `"sha256": "00`}, {`"policies"`, `"Policies"`}, {`"exec-default"`, `"*"`}, {`"created"`, `"creates"`},
		{`"expires": "2026`, `"expires": "2025`}, {`"made": "2026`, `"made": "0001`},
	} {
		odd := strings.Replace(string(whole), c[0], c[1], 1)
		check(t, os.WriteFile(path, []byte(odd), 0o600))
		if err := opens(); odd == string(whole) || err == nil {
			t.Errorf("%s for %s: %v", c[1], c[0], err)
		}
	}
	for _, cut := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		check(t, os.WriteFile(path, whole[:cut], 0o600))
		if opens() == nil {
			t.Errorf("%d of %d bytes were read as a book", cut, len(whole))
		}
	}
	check(t, os.WriteFile(path, whole, 0o600))
	if err := opens(); err != nil {
		t.Errorf("control: %v", err)
	}
}

// What a crash left beside the file is no part of it.
func TestHalfAChangeIsNone(t *testing.T) {
	r := newRig(t)
	token := r.create("ci", time.Hour)
	check(t, os.WriteFile(filepath.Join(r.dir, fileName+".partial"), []byte(`{"version":1,"tokens":[`), 0o600))
	r.reopen()
	r.good(token, "ci")
	next := r.rotate("ci")
	r.reopen()
	r.good(next, "ci")
}

func TestKilledChangeLeavesTheOldBookOrTheNewOne(t *testing.T) {
	r := newRig(t)
	steps, err := privatefiletest.Steps(func() error { r.create("ci", time.Hour); return nil })
	check(t, err)
	for i, step := range steps {
		r := newRig(t)
		old := r.create("ci", time.Hour)
		next := ""
		killed := privatefiletest.Kill(step, func() error {
			_, err := r.Rotate("ci", 0, func(text []byte) error { next = string(text); return nil })
			return err
		})
		if !killed {
			t.Fatalf("it was not killed before it could %s", step)
		}
		r.open() // without a Close: it was killed
		if i > slices.Index(steps, "replace file") {
			old, next = next, old
		}
		r.good(old, "ci")
		r.refused(next, ErrUnknown)
	}
}

// A disk that takes no change keeps no token in force that was revoked.
func TestRevocationHoldsWithoutTheDisk(t *testing.T) {
	r := newRig(t)
	token := r.create("ci", time.Hour)
	held := r.good(token, "ci")
	check(t, os.RemoveAll(r.dir))
	if _, err := r.Revoke("ci"); err == nil || !strings.Contains(err.Error(), "until creeld is restarted") {
		t.Errorf("told %v", err)
	}
	r.refused(token, ErrUnknown)
	if held.Ended.Err() == nil {
		t.Error("what was begun goes on")
	}
	if _, err := r.Create("ci", Scope{Policies: []string{"p"}}, time.Hour, func([]byte) error { return nil }); err == nil {
		t.Error("one that could not be written down is in force")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"version":1,"tokens":[{"name":"ci","policies":["p"],"sha256":"","created":"2026-06-01T12:00:00Z","made":"2026-06-01T12:00:00Z","expires":"2026-06-01T13:00:00Z"}]}`))
	f.Add([]byte(`{"version":1,"tokens":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := parse(data)
		if err != nil {
			return
		}
		for _, r := range records {
			if r.Expires.Sub(r.Made) > MaxLife || len(r.Policies) == 0 {
				t.Errorf("accepted %+v", r)
			}
		}
	})
}

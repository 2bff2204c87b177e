package credential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFileOfAValueIsRootsAloneAllTheWayUp(t *testing.T) {
	dir := filepath.Join(helpers(t), "below")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key")
	put(t, path, canary+"\n", 0o400)
	accepted := func(when string) {
		t.Helper()
		secret, err := ReadFile(path)
		if err != nil || string(secret.Reveal()) != canary {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused := func(path, want string) {
		t.Helper()
		_, err := ReadFile(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want an error with %q", path, err, want)
		}
	}
	accepted("positive control")
	for _, spoil := range []struct {
		path       string
		mode, back os.FileMode
		want       string
	}{
		{path, 0o440, 0o400, "0440"}, {path, 0o604, 0o600, "0604"}, {path, 0o420, 0o600, "0420"},
		{dir, 0o775, 0o755, "0775"}, {dir, 0o757, 0o755, "0757"}, {filepath.Dir(dir), 0o777 | os.ModeSticky, 0o700, "1777"},
	} {
		if err := os.Chmod(spoil.path, spoil.mode); err != nil {
			t.Fatal(err)
		}
		refused(path, spoil.want)
		if err := os.Chmod(spoil.path, spoil.back); err != nil {
			t.Fatal(err)
		}
		accepted("mended")
	}
	for _, owned := range []string{path, dir} {
		if err := os.Chown(owned, 12345, 0); err != nil {
			t.Fatal(err)
		}
		refused(path, "uid 12345")
		if err := os.Chown(owned, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{dir + "/link": path, dir + ".link": dir} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	refused(dir+"/link", "symlink")
	refused(dir+".link/key", "symlink")
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	refused(dir+"/fifo", "not a regular file")
	for _, name := range []string{"", "/", "key", dir + "/../below/key", dir + "//key", path + "/"} {
		refused(name, "not a clean absolute path")
	}
	refused(dir+"/none", "no such file")
	accepted("at the end")
}

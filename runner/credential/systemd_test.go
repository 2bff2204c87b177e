package credential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// credentials is a directory as systemd makes it, with one good file.
func credentials(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "token"), canary+"\n", 0o400)
	return dir
}

func put(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// wantRefused fetches and wants an error that holds want and no value.
func wantRefused(t *testing.T, provider Provider, reference, want string) {
	t.Helper()
	grant, err := provider.Fetch(t.Context(), Ask{Reference: reference})
	if err == nil {
		t.Errorf("%.60s: fetched %d bytes", reference, grant.Secret.Len())
		return
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%.60s: %v, want %q in it", reference, err, want)
	}
	if strings.Contains(err.Error(), canary) {
		t.Errorf("%.60s: the error holds the value: %v", reference, err)
	}
}

func wantFetched(t *testing.T, provider Provider, reference, want string) {
	t.Helper()
	grant, err := provider.Fetch(t.Context(), Ask{Reference: reference})
	if err != nil || string(grant.Secret.Reveal()) != want {
		t.Errorf("%.60s: %q, %v, want %q", reference, grant.Secret.Reveal(), err, want)
	}
}

func TestSystemdCredentialIsReadAtUse(t *testing.T) {
	dir := credentials(t)
	provider := NewSystemd(dir)
	wantFetched(t, provider, "token", canary)
	put(t, filepath.Join(dir, "new"), "another value", 0o400)
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	wantFetched(t, provider, "token", "another value")
	put(t, filepath.Join(dir, "unit.with-odd_name@1 2"), canary, 0o600)
	wantFetched(t, provider, "unit.with-odd_name@1 2", canary)
}

func TestSystemdCredentialNamesAreFileNames(t *testing.T) {
	dir := credentials(t)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	put(t, outside, canary, 0o400)
	t.Cleanup(func() { _ = os.Remove(outside) })
	for _, name := range []string{
		"", ".", "..", "/", "../outside", "./token", "token/", "sub/token", outside, "a:b", "a\nb", "a\x00b", "a\x7f", "é",
		strings.Repeat("x", 256),
	} {
		wantRefused(t, NewSystemd(dir), name, "check name")
	}
	wantRefused(t, NewSystemd(dir), "missing", "no such file")
	for _, bad := range []string{"relative", dir + "/", dir + "/../" + filepath.Base(dir)} {
		wantRefused(t, NewSystemd(bad), "token", "not a clean absolute path")
	}
	wantRefused(t, NewSystemd(""), "token", "LoadCredential=")
	wantRefused(t, NewSystemd(dir+"/nowhere"), "token", "open credentials directory")
	wantFetched(t, NewSystemd(dir), "token", canary)
}

func TestSystemdCredentialMustBeAPrivateRegularFile(t *testing.T) {
	dir := credentials(t)
	provider := NewSystemd(dir)
	for mode, want := range map[os.FileMode]string{0o440: "0440", 0o404: "0404", 0o420: "0420", 0o444: "0444", 0o644: "0644"} {
		put(t, filepath.Join(dir, "open"), canary, mode)
		wantRefused(t, provider, "open", "mode "+want)
	}
	put(t, filepath.Join(dir, "theirs"), canary, 0o400)
	if err := os.Chown(filepath.Join(dir, "theirs"), 12345, 0); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, provider, "theirs", "owned by uid 12345")
	if err := os.Symlink("token", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, provider, "link", "too many levels of symbolic links")
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, NewSystemd(dir+"-link"), "token", "too many levels of symbolic links")
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o400); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, provider, "fifo", "not a regular file") // and at once: nobody writes to it
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, provider, "dir", "not a regular file")
	put(t, filepath.Join(dir, "long"), strings.Repeat("x", MaxValue+2), 0o400)
	wantRefused(t, provider, "long", "more than")
	put(t, filepath.Join(dir, "short"), "1234567\n", 0o400)
	wantRefused(t, provider, "short", "7 bytes")
	wantFetched(t, provider, "token", canary)
}

func FuzzSystemdName(f *testing.F) {
	for _, seed := range []string{"token", "..", "a/b", "a:b", "\xff", strings.Repeat("x", 256)} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		if checkName(name) != nil {
			return // refused
		}
		if filepath.Base(name) != name || strings.ContainsAny(name, "/\x00") || filepath.Dir(filepath.Join(dir, name)) != dir {
			t.Fatalf("%q leaves the directory", name)
		}
	})
}

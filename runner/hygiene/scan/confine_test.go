package scan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// asConfined in the environment makes this test binary try what a confined
// search must not.
const asConfined = "CREEL_SCAN_TEST_CONFINED"

func TestMain(m *testing.M) {
	if os.Getenv(asConfined) != "" {
		tryEverything()
		return
	}
	os.Exit(m.Run())
}

// tryEverything says what each attempt came to, on every one of some threads.
func tryEverything() {
	if err := confine([]place{{hygiene.Place{Name: "tree"}, 3}}); err != nil {
		fmt.Println("confine:", err)
		return
	}
	open := func(dir int, path string, flags int) error {
		fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC, 0o600)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
	attempts := []struct {
		name string
		try  func() error
	}{
		{"read beneath", func() error { return open(3, "file", unix.O_RDONLY) }},
		{"list beneath", func() error { return open(3, ".", unix.O_RDONLY|unix.O_DIRECTORY) }},
		{"read beside", func() error { return open(3, "../beside", unix.O_RDONLY) }},
		{"read elsewhere", func() error { return open(unix.AT_FDCWD, "/etc/passwd", unix.O_RDONLY) }},
		{"write", func() error { return open(3, "file", unix.O_WRONLY) }},
		{"create", func() error { return open(3, "new", unix.O_WRONLY|unix.O_CREAT) }},
		{"remove", func() error { return unix.Unlinkat(3, "file", 0) }},
		{"execute", func() error { return unix.Exec("/bin/true", []string{"true"}, nil) }},
		{"use more memory", func() error {
			_, err := unix.Mmap(-1, 0, maxMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			return err
		}},
		{"gain rights", func() error {
			n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			if err == nil && n == 1 {
				return unix.EPERM
			}
			return err
		}},
	}
	var mu sync.Mutex
	var threads sync.WaitGroup
	for range 8 {
		threads.Go(func() {
			mu.Lock()
			defer mu.Unlock()
			for _, a := range attempts {
				var errno unix.Errno
				errors.As(a.try(), &errno)
				fmt.Printf("%s: %s\n", a.name, unix.ErrnoName(errno))
			}
		})
	}
	threads.Wait()
}

// It runs as root here, so that nothing but the confinement refuses anything.
func TestConfinedSearchReadsWhatItIsGivenAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"tree/file", "beside"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte("text"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(filepath.Join(dir, "tree"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	tree := os.NewFile(uintptr(fd), "tree")
	defer func() { _ = tree.Close() }()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{asConfined + "=1"}
	cmd.ExtraFiles = []*os.File{tree}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := map[string]string{
		"read beneath": "", "list beneath": "", "use more memory": "ENOMEM", "gain rights": "EPERM",
		"read beside": "EACCES", "read elsewhere": "EACCES", "write": "EACCES", "create": "EACCES", "remove": "EACCES", "execute": "EACCES",
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(out)) {
		name, errno, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		expected, known := want[name]
		if !ok || !known || errno != expected {
			t.Errorf("%q, want %q", line, expected)
		}
		counts[name]++
	}
	for name := range want {
		if counts[name] != 8 {
			t.Errorf("%s was tried %d times", name, counts[name])
		}
	}
}

package posture

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A command chooses how many descriptors it has and how long their paths are.
// Neither keeps an operator from looking, or is more than a little to hold; and
// before the command runs, what was not listed is a difference.
func TestDescriptorsOfAHostileProcessAreBounded(t *testing.T) {
	deep := deepFile(t)
	for range 2 * maxFDs {
		fd, err := unix.Dup(deep)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	p := Process{Pid: os.Getpid()}
	dir, err := openProcess(p.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dir)
	if err := p.readFDs(dir); err != nil {
		t.Fatal(err)
	}
	if len(p.FDs) != maxFDs+1 {
		t.Errorf("%d are held, want %d and a note", len(p.FDs), maxFDs)
	}
	told := false
	for _, fd := range p.FDs {
		told = told || fd.Target == "a path too long to tell"
		if len(fd.Target) > maxTarget {
			t.Errorf("descriptor %d: %d bytes", fd.Number, len(fd.Target))
		}
	}
	c := &comparison{}
	c.descriptors(p.FDs)
	if all := strings.Join(c.differences, "\n"); !told || !strings.Contains(all, "too long to tell") || !strings.Contains(all, "not listed") {
		t.Errorf("differences: %s", all)
	}
}

// deepFile opens a file whose path is longer than the kernel shows.
func deepFile(t *testing.T) int {
	t.Helper()
	dir, err := unix.Open(t.TempDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range 20 {
		if err == nil {
			err = unix.Mkdirat(dir, strings.Repeat("d", 250), 0o755)
		}
		next := -1
		if err == nil {
			next, err = unix.Openat(dir, strings.Repeat("d", 250), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		}
		unix.Close(dir)
		dir = next
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(dir) })
	return dir
}

package kernelfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func directory(t *testing.T) (string, int) {
	t.Helper()
	path := t.TempDir()
	fd, err := Open(Path, path)
	check(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return path, fd
}

func TestFilesAreReadWholeWhateverTheirLength(t *testing.T) {
	path, dir := directory(t)
	for _, length := range []int{0, 1, usual - 1, usual, usual + 1, 3*usual + 7, 5} {
		want := strings.Repeat("creel\n", length)[:length]
		check(t, os.WriteFile(filepath.Join(path, "file"), []byte(want), 0o600))
		if got, err := Read(dir, "file"); err != nil || got != want {
			t.Errorf("%d bytes: got %d, %v", length, len(got), err)
		}
	}
	want, err := os.ReadFile("/proc/self/limits") // in records, by the kernel
	check(t, err)
	if got, err := Read(Path, "/proc/self/limits"); err != nil || got != string(want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestDirectoriesAreListed(t *testing.T) {
	path, dir := directory(t)
	var want []string
	for i := range 2000 { // more than fit in one reply
		want = append(want, "entry"+strconv.Itoa(i))
		check(t, os.Mkdir(filepath.Join(path, want[i]), 0o700))
	}
	got, err := Names(dir, ".")
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d names, %v", len(got), err)
	}
}

func TestLinksAreRead(t *testing.T) {
	path, dir := directory(t)
	check(t, os.Symlink("where/ever", filepath.Join(path, "link")))
	if got, err := Link(dir, "link"); err != nil || got != "where/ever" {
		t.Errorf("got %q, %v", got, err)
	}
}

// What is not there is told as package os tells it, with its name.
func TestWhatIsNotThereIsAnError(t *testing.T) {
	_, dir := directory(t)
	_, openErr := Open(dir, "gone")
	_, readErr := Read(dir, "gone")
	_, linkErr := Link(dir, "gone")
	_, namesErr := Names(dir, "gone")
	for _, err := range []error{openErr, readErr, linkErr, namesErr} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "gone") {
			t.Errorf("got %v", err)
		}
	}
}

// A descriptor of a process's directory shows nothing of a later process.
func TestDirectoryOfAnEndedProcessIsEmpty(t *testing.T) {
	ended, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	check(t, err)
	dir, err := Open(Path, "/proc/"+strconv.Itoa(ended.Pid))
	check(t, err)
	defer unix.Close(dir)
	if _, err := Read(dir, "status"); err != nil {
		t.Errorf("control: %v", err)
	}
	_, err = ended.Wait()
	check(t, err)
	if _, err := Read(dir, "status"); !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
		t.Errorf("got %v", err)
	}
}

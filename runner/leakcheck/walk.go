package leakcheck

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxEntries bounds the directory entries of one walk, and maxDepth how deep
// it goes.
const (
	maxEntries = 2_000_000
	maxDepth   = 64
)

// walk searches a directory tree at rest: every name, every symbolic link, and
// every regular file that has changed since the canary was made, before which
// none can hold it. It opens nothing else, follows no link, and stays on the
// file system it begins on. It changes nothing, not even a time of access.
type walk struct {
	ctx    context.Context
	notes  *notes
	sought *sought
	place  string
	// since is from when on a file on a device can hold the canary.
	since func(device uint64) time.Time
	// namesOnly is for trees of the kernel's, where reading can do things.
	namesOnly bool

	device  uint64
	entries int
	// controls are what the control was found in.
	controls []string
	// named is a part of a name that shows that the walk is where it should be.
	named string
	met   bool
}

// root walks a tree. That there is none is no error.
func (w *walk) root(path string) {
	if w.notes.leftOut(path) {
		return
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	switch {
	case gone(err):
		return
	case err == unix.ENOTDIR || err == unix.ELOOP:
		if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() {
			w.notes.problem(w.place, "%s is neither a directory nor a file", path)
			return
		}
		w.file(unix.AT_FDCWD, path, path)
		w.notes.searched(w.place, 1)
		return
	case err != nil:
		w.notes.problem(w.place, "open %s: %v", path, err)
		return
	}
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	id, _, err := identify(fd)
	if err != nil {
		w.notes.problem(w.place, "stat %s: %v", path, err)
		return
	}
	w.device = id.dev
	w.directory(dir, path, 0)
	w.notes.searched(w.place, w.entries)
	w.entries = 0
}

// gone says that something has ended since it was listed, as the files of a
// running system do.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)
}

func (w *walk) directory(dir *os.File, path string, depth int) {
	if depth > maxDepth {
		w.notes.problem(w.place, "%s: deeper than %d directories; --except leaves it out", path, maxDepth)
		return
	}
	for {
		entries, err := dir.ReadDir(1024)
		for _, entry := range entries {
			if w.ctx.Err() != nil || w.entries >= maxEntries {
				w.notes.problem(w.place, "%s: there was more than could be searched in time; --except leaves a directory out", path)
				return
			}
			w.entries++
			w.entry(int(dir.Fd()), filepath.Join(path, entry.Name()), entry, depth)
		}
		if err != nil && !errors.Is(err, io.EOF) && !gone(err) {
			w.notes.problem(w.place, "list %s: %v", path, err)
		}
		if err != nil {
			return
		}
	}
}

func (w *walk) entry(dir int, path string, entry os.DirEntry, depth int) {
	w.met = w.met || w.named != "" && strings.Contains(entry.Name(), w.named)
	w.search(path, aName, w.sought.in([]byte(entry.Name())))
	if w.notes.leftOut(path) {
		return
	}
	switch entry.Type() {
	case os.ModeSymlink:
		target := make([]byte, unix.PathMax)
		if n, err := unix.Readlinkat(dir, entry.Name(), target); err == nil {
			w.search(path, aTarget, w.sought.in(target[:n]))
		}
	case os.ModeDir:
		w.below(dir, path, entry.Name(), depth)
	case 0:
		if !w.namesOnly {
			w.file(dir, entry.Name(), path)
		}
	}
}

// below goes down into a directory of the same file system.
func (w *walk) below(dir int, path, name string, depth int) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		if !gone(err) {
			w.notes.problem(w.place, "open %s: %v", path, err)
		}
		return
	}
	sub := os.NewFile(uintptr(fd), path)
	defer sub.Close()
	if id, _, err := identify(fd); err == nil && id.dev == w.device {
		w.directory(sub, path, depth+1)
	}
}

// file searches a regular file that has changed.
func (w *walk) file(dir int, name, path string) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG ||
		time.Unix(st.Ctim.Unix()).Before(w.since(st.Dev)) {
		return
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err != nil {
		if !gone(err) {
			w.notes.problem(w.place, "open %s: %v", path, err)
		}
		return
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if _, opened, err := identify(fd); err != nil || opened.Mode&unix.S_IFMT != unix.S_IFREG {
		return // another one by now: whoever put it there wrote it, and that was watched
	}
	found, err := w.sought.file(file, maxFile)
	w.search(path, aFile, found)
	if err != nil && !gone(err) {
		w.notes.problem(w.place, "%s: %v; --except leaves it out", path, err)
	}
}

// What a walk searches.
const (
	aName   = "the name of "
	aTarget = "the target of "
	aFile   = ""
)

func (w *walk) search(path, what string, found seen) {
	w.notes.leak(w.place, what+path, process{}, found)
	if found.control {
		w.controls = append(w.controls, what)
	}
}

package scan

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// The bounds of a walk. A directory costs a descriptor for each level.
const (
	maxDepth = 256
	maxFiles = 4 << 20
	maxPath  = 4096 // PATH_MAX (limits.h)
)

// A file whose ctime (which no program can set) is as young as this when it is
// read may change again without a new ctime, since the kernel's clock for it
// ticks (at 100 Hz or more; some file systems know whole seconds or two): it
// is not remembered.
const (
	fineTick   = 50 * time.Millisecond
	coarseTick = 3 * time.Second
)

// gitFile is a file that holds objects of Git.
type gitFile struct {
	place int
	path  string
	dir   string // of the objects
	// naming is that of the repository; of a pack it is known when it is read.
	naming naming
	state  key
	key    key  // what is found in it is remembered under: its content's, of a pack, or its state's
	known  bool // nothing has to be read
	keep   bool // it can be remembered
	clean  bool // it was covered
	bad    bool // it cannot be read
}

// looseObject is where Git keeps an object of its own (gitrepository-layout(5)),
// under its name.
var looseObject = regexp.MustCompile(`^(?:(.*)/)?objects/[0-9a-f]{2}/([0-9a-f]{38}|[0-9a-f]{62})$`)

// packFile is where Git keeps many objects.
var packFile = regexp.MustCompile(`^(?:(.*)/)?objects/pack/[^/]*\.pack$`)

// walkPlace searches the files of a place.
func (s *search) walkPlace(i int) {
	p := s.places[i]
	if p.File {
		f := os.NewFile(uintptr(p.fd), p.Name)
		defer f.Close()
		var st unix.Stat_t
		if err := unix.Fstat(p.fd, &st); err != nil {
			s.uncovered(i, "", "%v", err)
			return
		}
		s.file(i, "", f, &st)
		return
	}
	fd, err := openBeneath(p.fd, ".", unix.O_DIRECTORY)
	if err != nil {
		s.uncovered(i, "", "%v", err)
		return
	}
	s.directory(i, fd, "", 0)
}

// directory searches what is below one directory, whose descriptor it closes.
func (s *search) directory(place, fd int, path string, depth int) {
	dir := os.NewFile(uintptr(fd), path)
	defer dir.Close()
	for !s.late() {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			at := name
			if path != "" {
				at = path + "/" + name
			}
			if s.report.Count.Files >= maxFiles || len(at) >= maxPath || depth >= maxDepth {
				s.uncovered(place, at, "more than %d files, or deeper than %d directories or %d bytes of path", maxFiles, maxDepth, maxPath)
				return
			}
			s.entry(place, fd, name, at, depth)
		}
		if err != nil {
			if err != io.EOF {
				s.uncovered(place, path, "%v", err)
			}
			return
		}
	}
}

// entry looks at one name of a directory. Only files and directories hold
// text: links are not followed, and what they name is not read.
func (s *search) entry(place, dir int, name, path string, depth int) {
	if s.late() {
		return
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		if !errors.Is(err, unix.ENOENT) { // it is gone
			s.uncovered(place, path, "%v", err)
		}
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		fd, err := openBeneath(dir, name, unix.O_DIRECTORY)
		if err != nil {
			s.refused(place, path, &st, err)
			return
		}
		s.directory(place, fd, path, depth+1)
	case unix.S_IFREG:
		s.report.Count.Files++
		if s.remembered(place, path, &st) {
			return
		}
		fd, err := openBeneath(dir, name, 0)
		if err != nil {
			s.refused(place, path, &st, err)
			return
		}
		f := os.NewFile(uintptr(fd), path)
		defer f.Close()
		// What was opened counts, not what was there before.
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			s.uncovered(place, path, "it is changing")
			return
		}
		s.file(place, path, f, &st)
	}
}

// openBeneath opens one name of a directory for reading: no link, no other
// file system, since the sandbox does not see what is mounted there either,
// and without waiting for anybody (a FIFO).
func openBeneath(dir int, name string, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW | flags,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(dir, name, &how)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// refused notes a file that cannot be opened. One of another user's, which the
// sandbox cannot read either, is only counted; its own user's, which a command
// could have closed to hide it, is not covered. What is mounted there is not
// part of the workspace.
func (s *search) refused(place int, path string, st *unix.Stat_t, err error) {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EXDEV):
	case errors.Is(err, unix.EACCES) && int(st.Uid) != unix.Getuid():
		s.report.Count.OtherOwners++
	default:
		s.uncovered(place, path, "cannot be read: %v", err)
	}
}

// stateKey stands for a file in a state: another file in its place, or a
// change of it, has another.
func (s *search) stateKey(place int, path string, st *unix.Stat_t) key {
	state := make([]byte, 0, 256)
	for _, n := range []int64{int64(st.Dev), int64(st.Ino), st.Size, st.Mtim.Nano(), st.Ctim.Nano()} {
		state = binary.LittleEndian.AppendUint64(state, uint64(n))
	}
	state = append(state, s.places[place].Name...)
	return s.new.key("file", append(append(state, 0), path...)) // neither has a NUL in it
}

// remembered says whether a file was searched in this very state, and takes
// over what was found then. Files with objects of Git are noted even then:
// their trees name what others hold.
func (s *search) remembered(place int, path string, st *unix.Stat_t) bool {
	if s.stale() {
		return false
	}
	state := s.stateKey(place, path, st)
	if content, known := s.old.packs[state]; known {
		s.carry(content, false)
		s.new.packs[state] = content
		return s.noteGit(gitFile{place: place, path: path, state: state, key: content, known: true})
	}
	if _, known := s.old.files[state]; !known {
		return false
	}
	s.carry(state, false)
	s.new.keepFile(state)
	s.noteGit(gitFile{place: place, path: path, state: state, key: state, known: true})
	return true
}

// carry takes over what was found in a file before; without the values under
// management, where those are compared anew.
func (s *search) carry(k key, anew bool) {
	s.carried[k] = true
	for _, f := range s.old.by[k] {
		if !anew || f.Rule != hygiene.RuleManaged {
			s.new.findings = append(s.new.findings, remembered{k, f})
		}
	}
}

// noteGit files a pack or an object away for later, if it is one.
func (s *search) noteGit(g gitFile) bool {
	if m := packFile.FindStringSubmatch(g.path); m != nil {
		g.dir = m[1]
		s.packs = append(s.packs, g)
		return true
	}
	if m := looseObject.FindStringSubmatch(g.path); m != nil {
		g.dir, g.naming = m[1], naming(1+len(m[2])/2)
		s.loose = append(s.loose, g)
		return true
	}
	return false
}

// settled says that a change after now will show in the file's ctime.
func settled(st *unix.Stat_t, now time.Time) bool {
	tick := fineTick
	if st.Ctim.Nsec == 0 {
		tick = coarseTick
	}
	return now.Sub(time.Unix(st.Ctim.Unix())) > tick
}

// file searches a file that is open, or files it away if it holds objects of
// Git.
func (s *search) file(place int, path string, f *os.File, st *unix.Stat_t) {
	state := s.stateKey(place, path, st)
	g := gitFile{place: place, path: path, state: state, key: state, keep: settled(st, time.Now())}
	if s.noteGit(g) {
		return
	}
	_, known := s.old.files[g.key]
	if known && !s.stale() { // a single file comes here first
		s.carry(g.key, false)
		s.new.keepFile(g.key)
		return
	}
	if known {
		s.carry(g.key, true)
	}
	s.report.Count.FilesRead++
	t := s.newText(textOf{place: place, path: path, name: path, key: g.key}, !known)
	if s.copyFile(t, f, st.Size) && g.keep {
		s.new.keepFile(g.key)
	}
}

// copyFile reads a file to its end, holes left out, and says whether it got
// there.
func (s *search) copyFile(t *text, f *os.File, size int64) bool {
	for at := int64(0); ; {
		if s.late() {
			return false
		}
		if size > blockSize { // a hole holds nothing, and may be large (lseek(2))
			next, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
			if errors.Is(err, unix.ENXIO) {
				break
			}
			if err == nil && next > at {
				t.skip()
				at = next
			}
		}
		n, err := f.ReadAt(s.scratch[:64<<10], at)
		t.Write(s.scratch[:n])
		at += int64(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			s.uncovered(t.of.place, t.of.path, "%v", err)
			return false
		}
	}
	t.Close()
	return true
}

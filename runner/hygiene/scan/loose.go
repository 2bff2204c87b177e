package scan

import (
	"io"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
	"golang.org/x/sys/unix"
)

// reopen opens a file that the walk has found, again beneath its place.
func (s *search) reopen(g *gitFile) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	opened, err := unix.Openat2(s.places[g.place].fd, g.path, &how)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(opened, &st); err != nil || s.stateKey(g.place, g.path, &st) != g.state {
		unix.Close(opened)
		return nil, unix.ESTALE
	}
	return os.NewFile(uintptr(opened), g.path), nil
}

// readLoose searches one object that lies by itself: in the first round all
// but blobs.
func (s *search) readLoose(g *gitFile, blobs bool) {
	if s.late() || blobs && g.clean {
		return
	}
	err := s.eachLoose(g, blobs, func(kind plumbing.ObjectType, content []byte) {
		s.report.Count.FilesRead++
		s.object(g, kind, content)
		g.clean = true
	})
	if err != nil && !blobs {
		s.uncovered(g.place, g.path, "not an object of Git: %s", strings.TrimSpace(err.Error()))
		g.bad = true
	}
}

// eachLoose gives the content of an object to do, if it is of the round.
func (s *search) eachLoose(g *gitFile, blobs bool, do func(plumbing.ObjectType, []byte)) error {
	if g.bad {
		return nil
	}
	f, err := s.reopen(g)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := objfile.NewReader(f)
	if err != nil {
		return err
	}
	defer r.Close()
	kind, size, err := r.Header()
	if err != nil {
		return err
	}
	if (kind == plumbing.BlobObject) != blobs {
		return nil
	}
	content, err := readExactly(r, size)
	if err != nil {
		return err
	}
	do(kind, content)
	return nil
}

// readExactly reads an object that says that it has size bytes.
func readExactly(r io.Reader, size int64) ([]byte, error) {
	if size < 0 || size > maxObject {
		return nil, errLarge
	}
	content, err := io.ReadAll(io.LimitReader(r, size+1))
	if err == nil && int64(len(content)) != size {
		err = errSize
	}
	return content, err
}

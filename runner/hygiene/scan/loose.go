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
	if s.late() || g.clean || g.bad {
		return
	}
	err := s.eachLoose(g, blobs, func(f *os.File, kind plumbing.ObjectType, size int64, r io.Reader) error {
		if err := s.looseObject(g, f, kind, size, r); err != nil {
			return err
		}
		s.report.Count.FilesRead++
		g.clean = true
		return nil
	})
	if err != nil {
		s.uncovered(g.place, g.path, "not an object of Git: %s", strings.TrimSpace(err.Error()))
		g.bad = true
	}
}

// looseObject searches the object, and the file that it is in as it is.
func (s *search) looseObject(g *gitFile, f *os.File, kind plumbing.ObjectType, size int64, r io.Reader) error {
	if size > maxObject && kind == plumbing.BlobObject {
		_, err := s.largeBlob(g, size, func(to io.Writer) error {
			return s.eachLoose(g, true, func(_ *os.File, _ plumbing.ObjectType, size int64, r io.Reader) error {
				n, err := io.Copy(to, io.LimitReader(r, size+1))
				if err == nil && n != size {
					err = errSize
				}
				return err
			})
		})
		if err != nil {
			return err
		}
	} else {
		content, err := readExactly(r, size)
		if err != nil {
			return err
		}
		s.object(g, kind, content)
	}
	raw := s.newText(textOf{place: g.place, path: g.path, key: g.key}, false)
	_, err := io.Copy(raw, io.NewSectionReader(f, 0, 1<<62))
	raw.Close()
	return err
}

// eachLoose opens an object for do, if it is of the round.
func (s *search) eachLoose(g *gitFile, blobs bool, do func(*os.File, plumbing.ObjectType, int64, io.Reader) error) error {
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
	if err != nil || (kind == plumbing.BlobObject) != blobs {
		return err
	}
	return do(f, kind, size, r)
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

package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
	"time"
)

// kind is what is done with an entry.
type kind int

const (
	directory kind = iota
	regular
	symlink
	hardlink
	special  // a device, FIFO or socket: whatever was there is removed
	whiteout // base is what it hides
	opaque   // hides all that lower layers have in dir
)

// entry is a header of a layer that was checked.
type entry struct {
	kind      kind
	dir, base string // relative and clean; both empty for the root itself
	link      string // of a symlink: any text; of a hard link: relative and clean
	mode      uint32 // permissions and the sticky bit
	uid, gid  int
	modified  time.Time
	size      int64 // of a regular file, in bytes
	data      io.Reader
}

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	// metaPrefix was of the files that AUFS kept for itself.
	metaPrefix = ".wh..wh."
	// maxPath is PATH_MAX (limits.h) without the NUL. maxDepth bounds how many
	// descriptors it takes to remove a directory.
	maxPath  = 4095
	maxDepth = 256
)

// keptBits are the permission bits and the sticky bit: no set-uid or set-gid.
const keptBits = 0o1777

// parse checks a header, without a look at any file system.
func parse(header *tar.Header, data io.Reader) (*entry, error) {
	name, err := clean(header.Name)
	if err != nil {
		return nil, err
	}
	e := &entry{mode: uint32(header.Mode) & keptBits, uid: header.Uid, gid: header.Gid, modified: header.ModTime, data: data}
	if name != "" {
		e.dir, e.base = path.Split(name)
		e.dir = strings.TrimSuffix(e.dir, "/")
	}
	// The last of them all is -1, which chown(2) takes for "as it is".
	if e.uid < 0 || e.gid < 0 || e.uid >= math.MaxUint32 || e.gid >= math.MaxUint32 {
		return nil, fmt.Errorf("its owner %d:%d is out of range", e.uid, e.gid)
	}
	if e.kind, err = kindOf(header.Typeflag); err != nil {
		return nil, err
	}
	switch {
	case strings.HasPrefix(e.base, whiteoutPrefix):
		return e, e.parseWhiteout()
	case name == "" && e.kind != directory:
		return nil, errors.New("the root is not a directory")
	case e.kind == regular:
		e.size = header.Size
	case e.kind == symlink:
		return e, e.setTarget(header.Linkname)
	case e.kind == hardlink:
		return e, e.setLink(header.Linkname)
	}
	return e, nil
}

func kindOf(flag byte) (kind, error) {
	switch flag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse, 0: // 0 is tar.TypeRegA of old archives
		return regular, nil
	case tar.TypeDir:
		return directory, nil
	case tar.TypeSymlink:
		return symlink, nil
	case tar.TypeLink:
		return hardlink, nil
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return special, nil
	}
	return 0, fmt.Errorf("it is of the unknown type %q", flag)
}

// clean makes a name relative to the root. It goes up nowhere: what "a/../b"
// means depends on whether a is a symlink.
func clean(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("its name has %d bytes, of at most %d", len(name), maxPath)
	}
	var parts []string
	for _, part := range strings.Split(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return "", errors.New(`its name has a ".."`)
		case strings.ContainsRune(part, 0):
			return "", errors.New("its name has a NUL")
		}
		parts = append(parts, part)
	}
	if len(parts) > maxDepth {
		return "", fmt.Errorf("it is %d directories deep, of at most %d", len(parts), maxDepth)
	}
	for i, part := range parts {
		if i < len(parts)-1 && strings.HasPrefix(part, whiteoutPrefix) {
			return "", fmt.Errorf("a directory of its path is named as a whiteout")
		}
	}
	return strings.Join(parts, "/"), nil
}

func (e *entry) parseWhiteout() error {
	hidden := strings.TrimPrefix(e.base, whiteoutPrefix)
	switch {
	case e.kind != regular:
		return errors.New("a whiteout is a regular file")
	case e.base == opaqueName:
		e.kind = opaque
		return nil
	case strings.HasPrefix(e.base, metaPrefix):
		return errors.New("it is a file of AUFS, which is not supported")
	case hidden == "" || hidden == "." || hidden == "..":
		return errors.New("it is a whiteout of no file")
	}
	e.kind, e.base = whiteout, hidden
	return nil
}

// setTarget takes any target: it is text until a sandbox, whose root is the
// image's, follows it.
func (e *entry) setTarget(target string) error {
	if target == "" || len(target) > maxPath || strings.ContainsRune(target, 0) {
		return fmt.Errorf("its target has %d bytes, or a NUL", len(target))
	}
	e.link = target
	return nil
}

func (e *entry) setLink(target string) error {
	name, err := clean(target)
	if err != nil {
		return fmt.Errorf("target %.200q of the hard link: %w", target, err)
	}
	if name == "" || name == path.Join(e.dir, e.base) || strings.HasPrefix(path.Base(name), whiteoutPrefix) {
		return fmt.Errorf("target %.200q of the hard link is no other file", target)
	}
	e.link = name
	return nil
}

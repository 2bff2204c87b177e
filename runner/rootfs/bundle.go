package rootfs

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
)

// ControlTarget is where a sandbox finds the directory of its control socket,
// when its engine cannot pass it the socket itself.
const ControlTarget = "/.creel/control"

// maxEntries bounds what is bound one by one of a root directory.
const maxEntries = 64

// Points are what an engine mounts over a root by itself.
type Points struct {
	Dirs  []string // made, whatever the root has there
	Files []string // made where nothing else is bound; otherwise they must exist
}

// Bundle is a root for an engine that does the mounting itself: what to bind
// and a skeleton with the mount points. Such an engine opens the sources anew
// by their paths, so whether it found the same ones is for the posture to
// tell, by View.
type Bundle struct {
	Binds []Bind
	View  View
	// Key changes when anything that the root is made of does.
	Key     string
	policy  *policy.Policy
	who     Identity
	points  Points
	sources *sources
}

// Bind is one source, by the path that was opened without following a
// symlink, and where it goes.
type Bind struct {
	Source, Target string
	Writable       bool
}

// OpenBundle opens everything that the policy names; of an image root, only
// the mounts. The caller must Close it.
func OpenBundle(p *policy.Policy, who Identity, initPath string, points Points) (_ *Bundle, err error) {
	b := &Bundle{policy: p, who: who, points: points, sources: &sources{dir: -1}}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	s := b.sources
	if err := s.addDeclared(p, initPath); err != nil {
		return nil, err
	}
	declared := slices.Clone(s.binds)
	switch {
	case p.Root.Host:
		err = s.openHost()
	case p.Root.Dir != "":
		err = b.openDir()
	}
	if err != nil {
		return nil, err
	}
	if err := s.checkPoints(declared, points.Files); err != nil {
		return nil, err
	}
	for _, bind := range s.binds {
		b.Binds = append(b.Binds, Bind{bind.path, bind.target, bind.writable})
		b.View.Mounts = append(b.View.Mounts, bind.mount())
	}
	return b, b.makeKey()
}

// Cover binds a file of the engine's own over one of the root. Where the policy
// mounts another, or a directory that is bound has no regular file there, it
// does nothing.
func (b *Bundle) Cover(source, target string) error {
	for _, over := range b.sources.binds {
		rest, below := strings.CutPrefix(target, over.target+"/")
		if over.target == target || below && !over.hasFile(rest) {
			return nil
		}
	}
	fd, err := openSource(source)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	mount := Mount{Target: target}
	if mount.Dev, mount.Ino, err = identity(fd); err != nil {
		return &SourceError{source, err}
	}
	b.Binds = append(b.Binds, Bind{Source: source, Target: target})
	b.View.Mounts = append(b.View.Mounts, mount)
	return nil
}

func (b bind) hasFile(name string) bool {
	fd, err := openInRoot(b.fd, name)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// Close closes the sources.
func (b *Bundle) Close() { b.sources.close() }

func (b *Bundle) makeKey() error {
	key, err := b.sources.fingerprint(b.policy, b.who)
	if err != nil {
		return err
	}
	var names []string // a link or an entry may have come or gone
	for _, l := range b.sources.links {
		names = append(names, l.name, l.target)
	}
	for _, bind := range b.sources.binds {
		names = append(names, bind.target)
	}
	data, err := json.Marshal(names)
	if err != nil {
		return fmt.Errorf("fingerprint root: %w", err)
	}
	sum := sha256.Sum256(append(key[:], data...))
	b.Key = hex.EncodeToString(sum[:])
	return nil
}

// openDir adds the entries of a root directory: there is no overlay here to
// lay mount points over it, and none may be made in it.
func (b *Bundle) openDir() (err error) {
	if b.sources.dir, err = openRoot(b.policy.Root.Dir); err != nil {
		return err
	}
	points := slices.Concat(mountPoints, b.points.Dirs)
	for _, bind := range b.sources.binds {
		points = append(points, bind.target)
	}
	return b.sources.addEntries(b.policy.Root.Dir, "/", points)
}

// addEntries adds what is in a directory, one by one; those that lead to a
// mount point, likewise with what is in them.
func (s *sources) addEntries(dir, target string, points []string) error {
	entries, err := os.ReadDir(filepath.Join(dir, target))
	if err != nil {
		return &SourceError{dir, err}
	}
	for _, entry := range entries {
		at := path.Join(target, entry.Name())
		leads := slices.ContainsFunc(points, func(point string) bool { return strings.HasPrefix(point, at+"/") })
		switch {
		case len(s.binds)+len(s.links) > maxEntries:
			return &SourceError{dir, fmt.Errorf("has more than %d entries to bind one by one", maxEntries)}
		case slices.Contains(points, at) || leads && !entry.IsDir():
			continue // hidden by a mount point
		case leads:
			err = s.addEntries(dir, at, points)
		case entry.Type()&fs.ModeSymlink != 0:
			err = s.addLink(filepath.Join(dir, at), at)
		case entry.IsDir() || entry.Type().IsRegular():
			err = s.add(filepath.Join(dir, at), at, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *sources) addLink(source, target string) error {
	text, err := os.Readlink(source)
	if err != nil {
		return &SourceError{source, err}
	}
	s.links = append(s.links, link{target, text})
	return nil
}

// checkPoints refuses a mount point that would have to be made in a source.
func (s *sources) checkPoints(declared []bind, files []string) error {
	for _, file := range files {
		declared = append(declared, bind{target: file})
	}
	for _, point := range declared {
		for _, over := range s.binds {
			rest, below := strings.CutPrefix(point.target, over.target+"/")
			if !below {
				continue
			}
			var st unix.Stat_t
			fd, err := openInRoot(over.fd, rest)
			if err == nil {
				err = unix.Fstat(fd, &st)
				unix.Close(fd)
			}
			if err == nil && (st.Mode&unix.S_IFMT == unix.S_IFDIR) != point.directory {
				err = errors.New("is a directory where a file is mounted, or the other way round")
			}
			if err != nil {
				return fmt.Errorf("mount point %s: %w", point.target, &SourceError{filepath.Join(over.path, rest), err})
			}
		}
	}
	return nil
}

// Skeleton gives, as a tar archive, the mount points, the links and, for a
// host root, the small /etc.
func (b *Bundle) Skeleton() ([]byte, error) {
	root, err := newTmpfs("mode", "0755", "size", "8m") // mounted nowhere, and gone with its descriptor
	if err != nil {
		return nil, fmt.Errorf("make skeleton: %w", err)
	}
	dir := os.NewFile(uintptr(root), "skeleton")
	defer dir.Close()
	if err := fillSkeleton(root, b.policy, b.who, b.sources); err != nil {
		return nil, fmt.Errorf("fill skeleton: %w", err)
	}
	s := skeleton{root: root}
	for _, point := range b.points.Dirs {
		s.dir(point)
	}
	if s.err != nil {
		return nil, fmt.Errorf("fill skeleton: %w", s.err)
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	if err := addTree(archive, fmt.Sprintf("/proc/self/fd/%d", root)); err != nil {
		return nil, fmt.Errorf("pack skeleton: %w", err)
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("pack skeleton: %w", err)
	}
	return out.Bytes(), nil
}

// addTree packs a directory that nobody else can change. All is root's, and
// of no time: the same tree gives the same bytes.
func addTree(archive *tar.Writer, dir string) error {
	return filepath.WalkDir(dir+"/", func(name string, entry fs.DirEntry, err error) error {
		rest := strings.TrimPrefix(name, dir+"/")
		if err != nil || rest == "" {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var target string
		var data []byte
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err = os.Readlink(name)
		case info.Mode().IsRegular():
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return err
		}
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		header = &tar.Header{Typeflag: header.Typeflag, Name: rest, Linkname: target, Mode: header.Mode, Size: int64(len(data))}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(data)
		return err
	})
}

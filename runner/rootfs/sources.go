package rootfs

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/image"
)

// A SourceError is a mount source that cannot be used as declared.
type SourceError struct {
	Path string // as the policy writes it
	Err  error
}

func (e *SourceError) Error() string {
	switch {
	case errors.Is(e.Err, unix.ELOOP):
		return fmt.Sprintf("mount source %s: a component of the path is a symlink", e.Path)
	case errors.Is(e.Err, unix.ENOENT):
		return fmt.Sprintf("mount source %s: does not exist", e.Path)
	}
	return fmt.Sprintf("mount source %s: %v", e.Path, e.Err)
}

func (e *SourceError) Unwrap() error { return e.Err }

// bind is one source, held open, and where it goes.
type bind struct {
	path, target string
	writable     bool
	directory    bool
	noExec       bool // the source's own mount is, and so stays
	fd           int
	dev, ino     uint64
}

// sources are all descriptors that one tree is made of.
type sources struct {
	binds []bind
	links []link // symlinks of the host's root, such as /bin -> usr/bin
	dir   int    // the policy's root directory, or that of its image, or -1
	// image is held for as long as its directory is used.
	image *image.Image
}

type link struct{ name, target string }

// hostDirs are the directories of the host that make a usable system; where
// the host has merged them into /usr they are links, and stay links.
var hostDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// openSources opens everything the policy names. On an error nothing stays
// open.
func openSources(p *policy.Policy, images *image.Store, initPath string) (_ *sources, err error) {
	s := &sources{dir: -1}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	switch {
	case p.Root.Host:
		err = s.openHost()
	case p.Root.Dir != "":
		s.dir, err = openRoot(p.Root.Dir)
	default:
		err = s.openImage(images, p.Root.Image)
	}
	if err != nil {
		return nil, err
	}
	return s, s.addDeclared(p, initPath)
}

// addDeclared adds creel-init and the mounts that the policy declares.
func (s *sources) addDeclared(p *policy.Policy, initPath string) error {
	if err := s.add(initPath, InitTarget, false); err != nil {
		return fmt.Errorf("open creel-init: %w", err)
	}
	for _, mount := range p.Mounts {
		add := s.add
		if mount.Kind == policy.MountExec {
			add = s.addSocket
		}
		if err := add(mount.Source, mount.Target, mount.Writable); err != nil {
			return err
		}
	}
	return nil
}

func (s *sources) openImage(images *image.Store, reference string) (err error) {
	if s.image, err = images.Resolve(reference); err != nil {
		return err
	}
	s.dir, err = unix.FcntlInt(s.image.Root.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open image: %w", err)
	}
	return nil
}

func (s *sources) openHost() error {
	for _, dir := range hostDirs {
		target, err := os.Readlink(dir)
		switch {
		case err == nil:
			s.links = append(s.links, link{dir, target})
		case errors.Is(err, unix.ENOENT):
		case errors.Is(err, unix.EINVAL): // a directory of its own
			if err := s.add(dir, dir, false); err != nil {
				return err
			}
		default:
			return fmt.Errorf("read host root: %w", err)
		}
	}
	return nil
}

// add adds a directory or a regular file.
func (s *sources) add(source, target string, writable bool) error {
	return s.addAny(source, target, writable, "is neither a directory nor a regular file", unix.S_IFDIR, unix.S_IFREG)
}

// addSocket adds a Unix socket, which can be connected to through a mount that
// is read-only as well (unix(7) asks for the right to write to the socket).
func (s *sources) addSocket(source, target string, writable bool) error {
	return s.addAny(source, target, writable, "is not a socket", unix.S_IFSOCK)
}

func (s *sources) addAny(source, target string, writable bool, otherwise string, kinds ...uint32) error {
	fd, err := openSource(source)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return &SourceError{source, err}
	}
	kind := st.Mode & unix.S_IFMT
	if !slices.Contains(kinds, kind) {
		unix.Close(fd)
		return &SourceError{source, errors.New(otherwise)}
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		unix.Close(fd)
		return &SourceError{source, err}
	}
	s.binds = append(s.binds, bind{
		path: source, target: path.Clean(target), writable: writable, noExec: fs.Flags&unix.ST_NOEXEC != 0,
		directory: kind == unix.S_IFDIR, fd: fd, dev: st.Dev, ino: st.Ino,
	})
	return nil
}

// openRoot opens a directory that is to be a root.
func openRoot(dir string) (int, error) {
	fd, err := openSource(dir)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err != nil {
		unix.Close(fd)
		return -1, &SourceError{dir, err}
	}
	return fd, nil
}

// openSource opens a source without following any symlink of its path, and
// refuses /proc's magic links (CVE-2024-21626 reached the host through one).
func openSource(source string) (int, error) {
	if !path.IsAbs(source) { // it would depend on the supervisor's working directory
		return -1, &SourceError{source, errors.New("is not an absolute path")}
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, source, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return -1, &SourceError{source, err}
	}
	return fd, nil
}

func (s *sources) close() {
	for _, b := range s.binds {
		unix.Close(b.fd)
	}
	if s.dir >= 0 {
		unix.Close(s.dir)
	}
	if s.image != nil {
		_ = s.image.Release() // closes two descriptors that were only read
	}
}

// fingerprint tells whether a tree built earlier would be built the same
// way now.
type fingerprint [sha256.Size]byte

func (s *sources) fingerprint(p *policy.Policy, who Identity) (fingerprint, error) {
	type file struct {
		Path         string
		Dev, Ino     uint64
		Sec, Nsec    int64
		MountID      uint64
		NoExec       bool `json:",omitempty"`
		MissingOnRun bool `json:",omitempty"`
	}
	parts := struct {
		Policy *policy.Policy
		Who    Identity
		Files  []file
	}{Policy: p, Who: who}
	held := s.binds
	if s.dir >= 0 {
		held = append(slices.Clone(held), bind{path: p.Root.Dir + p.Root.Image, fd: s.dir})
	}
	for _, b := range held {
		var st unix.Statx_t
		if err := unix.Statx(b.fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_MNT_ID, &st); err != nil {
			return fingerprint{}, fmt.Errorf("stat %s: %w", b.path, err)
		}
		parts.Files = append(parts.Files, file{
			Path: b.path, Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino, MountID: st.Mnt_id, NoExec: b.noExec,
		})
	}
	if p.Root.Host {
		for _, name := range hostEtcWatched {
			f := file{Path: name}
			if info, err := os.Stat(filepath.Join("/etc", name)); err == nil {
				at := info.ModTime()
				f.Sec, f.Nsec = at.Unix(), int64(at.Nanosecond())
			} else {
				f.MissingOnRun = true
			}
			parts.Files = append(parts.Files, f)
		}
	}
	data, err := json.Marshal(parts)
	if err != nil {
		return fingerprint{}, fmt.Errorf("fingerprint root: %w", err)
	}
	return sha256.Sum256(data), nil
}

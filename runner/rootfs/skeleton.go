package rootfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
)

// mountPoints are where the OCI runtime mounts the sandbox's own file
// systems; they must exist in a root that is read-only by then.
var mountPoints = []string{"/proc", "/dev", "/tmp"}

// hostEtcWatched are the parts of the host's /etc that a host root copies;
// a change of any builds the tree anew. Nothing else of /etc is ever read.
var hostEtcWatched = []string{"ld.so.cache", "localtime", "alternatives", "ssl/certs", "ssl/openssl.cnf"}

// maxCopy bounds one copied file in bytes; a CA bundle is some 250 KB.
const maxCopy = 2 << 20

// fillSkeleton makes the mount points, the files for names and, for a host
// root, the rest of a small /etc.
// All of it is made by root and readable by everyone, like a distribution's.
func fillSkeleton(root int, p *policy.Policy, who Identity, sources *sources) error {
	s := skeleton{root: root}
	for _, target := range mountPoints {
		s.dir(target)
	}
	// runc gives a tmpfs the mode of its mount point, whatever its options say.
	s.keep("set mode of", "/tmp", unix.Fchmodat(root, "tmp", unix.S_ISVTX|0o777, 0))
	for _, b := range sources.binds {
		if b.directory {
			s.dir(b.target)
		} else {
			s.dir(path.Dir(b.target))
			s.file(b.target, nil)
		}
	}
	for _, l := range sources.links {
		s.symlink(l.name, l.target)
	}
	s.names()
	if p.Root.Host {
		s.hostEtc(who)
	}
	return s.err
}

// skeleton writes below one directory descriptor and keeps the first error.
type skeleton struct {
	root int
	err  error
}

func (s *skeleton) keep(what, name string, err error) {
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("%s %s: %w", what, name, err)
	}
}

// dir makes a directory and those above it.
func (s *skeleton) dir(name string) {
	name = relative(name)
	for i := range len(name) + 1 {
		if i == 0 || i < len(name) && name[i] != '/' {
			continue
		}
		if err := unix.Mkdirat(s.root, name[:i], 0o755); !errors.Is(err, unix.EEXIST) {
			s.keep("make directory", name[:i], err)
		}
	}
}

func (s *skeleton) symlink(name, target string) {
	s.keep("link", name, unix.Symlinkat(target, s.root, relative(name)))
}

func (s *skeleton) file(name string, data []byte) {
	fd, err := unix.Openat(s.root, relative(name), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		s.keep("make file", name, err)
		return
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(data)
	s.keep("write file", name, errors.Join(err, f.Close()))
}

// HostsFile is the /etc/hosts of every sandbox: it knows itself and nobody else.
const HostsFile = "127.0.0.1 localhost\n"

// names makes the files that programs look names up in, whatever the root has
// there.
func (s *skeleton) names() {
	s.dir("/etc")
	s.file("/etc/hosts", []byte(HostsFile))
	s.file("/etc/resolv.conf", nil)
}

// hostEtc makes the few files without which ordinary programs misbehave. It
// names no user but the sandbox's own and no name server.
func (s *skeleton) hostEtc(who Identity) {
	s.dir("/etc/ssl")
	s.file("/etc/passwd", fmt.Appendf(nil, "%s:x:%d:%d::/tmp:/bin/sh\n", who.Name, who.UID, who.GID))
	s.file("/etc/group", fmt.Appendf(nil, "%s:x:%d:\n", who.Group, who.GID))
	s.file("/etc/nsswitch.conf", []byte("passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n"))
	for _, name := range []string{"ld.so.cache", "localtime", "ssl/openssl.cnf"} {
		s.copyFile("/etc/" + name)
	}
	s.copyDir("/etc/alternatives")
	s.copyDir("/etc/ssl/certs")
}

// copyFile copies one file of the host that an administrator keeps; a
// missing one is not an error, since a minimal host has none of them.
func (s *skeleton) copyFile(name string) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		s.keep("copy", name, err)
		return
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCopy+1))
	if err == nil && len(data) > maxCopy {
		err = unix.EFBIG
	}
	if err != nil {
		s.keep("copy", name, err)
		return
	}
	s.file(name, data)
}

// copyDir copies the links and regular files of one directory, not those of
// directories in it. Links keep their text: what they name is in /usr or in
// the same directory, or dangles inside the sandbox.
func (s *skeleton) copyDir(dir string) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	s.keep("copy", dir, err)
	s.dir(dir)
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		switch {
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			s.keep("copy", name, err)
			s.symlink(name, target)
		case entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), "."):
			s.copyFile(name)
		}
	}
}

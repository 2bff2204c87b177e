package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// sealed is the runtime's binary in a sealed memfd. runc and crun copy
// themselves into one and start again from it, or from a mount made for it, so
// that no container can write to the host's binary through /proc/self/exe
// (CVE-2019-5736). Started from such a copy they need not, which spares every
// launch one of two starts, and crun its file in /tmp, which stays there when
// it is killed. Both look for the seals alone (cloned_binary.c of either).
type sealed struct {
	path string // of the binary
	// link leads to the copy, so that the process has the runtime's name.
	link string
	mu   sync.Mutex
	file *os.File
	of   unix.Stat_t // the file that it is a copy of
}

// seals are those that the runtimes look for (fcntl(2), F_GET_SEALS).
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// firstSealed is the least number that the descriptor has: what os/exec gives
// a child takes the lowest ones, before it executes anything.
const firstSealed = 100

// executable is the path to execute: that of the sealed copy, which is made
// anew once the runtime was changed, or the runtime itself where there can be
// none.
func (s *sealed) executable() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now unix.Stat_t
	if err := unix.Stat(s.path, &now); err != nil || domainByFile() {
		return s.path
	}
	if s.file == nil || !unchanged(&now, &s.of) {
		if err := s.renew(); err != nil {
			return s.path
		}
	}
	return s.link
}

// renew puts a new copy in the place of the former one, at the same number:
// whoever is about to execute it executes either.
func (s *sealed) renew() error {
	file, of, err := seal(s.path)
	if err != nil {
		return err
	}
	if s.file != nil {
		defer file.Close()
		if err := unix.Dup3(int(file.Fd()), int(s.file.Fd()), unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("replace copy of %s: %w", s.path, err)
		}
		s.of = of
		return nil
	}
	err = errors.Join(s.unlink(), os.Symlink(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), s.link))
	if err != nil {
		file.Close()
		return fmt.Errorf("link to copy of %s: %w", s.path, err)
	}
	s.file, s.of = file, of
	return nil
}

// unlink removes the link, or that of a supervisor that was killed.
func (s *sealed) unlink() error {
	if err := os.Remove(s.link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s *sealed) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), s.unlink())
	s.file = nil
	return err
}

// domainByFile says that SELinux is in force, which chooses what the runtime
// may do by the label of its file (selinux(8)); a copy would have another.
func domainByFile() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

func unchanged(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// seal copies a file, and gives what it was then.
func seal(path string) (_ *os.File, of unix.Stat_t, err error) {
	from, err := os.Open(path)
	if err != nil {
		return nil, of, err
	}
	defer from.Close()
	if err := unix.Fstat(int(from.Fd()), &of); err != nil {
		return nil, of, fmt.Errorf("stat %s: %w", path, err)
	}
	to, err := executableMemfd(filepath.Base(path))
	if err != nil {
		return nil, of, err
	}
	_, copyErr := io.Copy(to, from)
	_, sealErr := unix.FcntlInt(to.Fd(), unix.F_ADD_SEALS, seals)
	if err := errors.Join(copyErr, to.Chmod(0o700), sealErr); err != nil {
		to.Close()
		return nil, of, fmt.Errorf("copy %s: %w", path, err)
	}
	return to, of, nil
}

// executableMemfd makes a memfd with a high number, which may be executed
// whatever vm.memfd_noexec says. Kernels before 6.3 do not know the flag.
func executableMemfd(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make memfd: %w", err)
	}
	defer unix.Close(fd)
	high, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstSealed)
	if err != nil {
		return nil, fmt.Errorf("make memfd: %w", err)
	}
	return os.NewFile(uintptr(high), name), nil
}

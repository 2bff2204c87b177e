package oci

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/filestate"
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
	of   filestate.State // the file that it is a copy of, or should be
	// failed says why there is none.
	failed error
}

// seals are those that the runtimes look for (fcntl(2), F_GET_SEALS).
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// executable is the path to execute: that of the sealed copy, which is made
// anew once the runtime was changed, or the runtime itself where there can be
// none.
func (s *sealed) executable() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := filestate.Of(s.path)
	if now == (filestate.State{}) || domainByFile() {
		return s.path
	}
	if now != s.of {
		s.of = now
		s.failed = s.renew()
	}
	if s.failed != nil {
		return s.path
	}
	return s.link
}

// renew puts a new copy in the place of the former one, at the same number:
// whoever is about to execute it executes either.
func (s *sealed) renew() error {
	file, err := seal(s.path)
	if err != nil {
		return err
	}
	if s.file != nil {
		defer file.Close()
		if err := unix.Dup3(int(file.Fd()), int(s.file.Fd()), unix.O_CLOEXEC); err != nil {
			return fmt.Errorf("replace copy of %s: %w", s.path, err)
		}
		return nil
	}
	// By the supervisor's pid: in a child that number may be another file by
	// the time it executes this one (syscall.ForkExec).
	target := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd())
	dir := filepath.Dir(s.link)
	// What is there is of a supervisor that was killed.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700), os.Symlink(target, s.link)); err != nil {
		file.Close()
		return fmt.Errorf("link to copy of %s: %w", s.path, err)
	}
	s.file = file
	return nil
}

func (s *sealed) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := os.RemoveAll(filepath.Dir(s.link))
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
		s.file = nil
	}
	return err
}

// domainByFile says that SELinux is in force, which chooses what the runtime
// may do by the label of its file (selinux(8)); a copy would have another.
func domainByFile() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// errNoBinary says that a runtime is a script, which could not be started from
// a descriptor that its execution closes, and is no file to be protected.
var errNoBinary = errors.New("not an ELF file")

func seal(path string) (_ *os.File, err error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(program, []byte(elf.ELFMAG)) {
		return nil, errNoBinary
	}
	to, err := executableMemfd(filepath.Base(path))
	if err != nil {
		return nil, err
	}
	_, copyErr := to.Write(program)
	_, sealErr := unix.FcntlInt(to.Fd(), unix.F_ADD_SEALS, seals)
	if err := errors.Join(copyErr, to.Chmod(0o700), sealErr); err != nil {
		to.Close()
		return nil, fmt.Errorf("copy %s: %w", path, err)
	}
	return to, nil
}

// executableMemfd makes a memfd that may be executed, unless vm.memfd_noexec
// is 2. Kernels before 6.3 do not know the flag (memfd_create(2)).
func executableMemfd(name string) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make memfd: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

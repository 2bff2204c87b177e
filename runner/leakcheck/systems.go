package leakcheck

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// kernelOnly are the types of file systems that keep no file which a program
// writes (/proc/filesystems, "nodev"); devtmpfs, since what fanotify(7) says of
// a device, it says by opening it; and hugetlbfs, which cannot be written to but
// by mappings, and is memory that is never swapped out.
var kernelOnly = []string{
	"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
	"hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
}

// system is one mounted file system, whatever number of mounts it has.
type system struct {
	mount     mount
	device    uint64 // of its root directory
	unreached error  // why it can be reached by none of its mounts
}

// mount is where a file system can be reached.
type mount struct {
	path  string
	pid   int    // whose mount namespace it is in; 0, this process's own
	owner string // that process, for people
	info  *mountinfo.Info
}

// mountsOf lists what a process has mounted, with paths that lead there from
// here.
func mountsOf(pid int) ([]mount, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer file.Close()
	infos, err := mountinfo.GetMountsFromReader(file, nil)
	if err != nil {
		return nil, fmt.Errorf("list mounts of process %d: %w", pid, err)
	}
	ours, ourErr := os.Readlink("/proc/self/ns/mnt")
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err = errors.Join(ourErr, err); err != nil {
		return nil, fmt.Errorf("compare mount namespaces: %w", err)
	}
	prefix, owner, foreign := "", "", 0
	if ours != theirs {
		prefix, foreign = fmt.Sprintf("/proc/%d/root", pid), pid
		if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
			owner = " of " + filepath.Base(program)
		}
	}
	var mounts []mount
	for _, info := range infos {
		mounts = append(mounts, mount{prefix + info.Mountpoint, foreign, owner, info})
	}
	return mounts, nil
}

// systemsOf finds every file system that the processes have mounted and that
// can be written to.
func systemsOf(pids []int) ([]*system, error) {
	var order []string
	byDevice := map[string][]mount{}
	for _, pid := range pids {
		mounts, err := mountsOf(pid)
		if err != nil {
			return nil, err
		}
		for _, m := range mounts {
			device := fmt.Sprintf("%d:%d", m.info.Major, m.info.Minor)
			readOnly := m.info.VFSOptions == "ro" || strings.HasPrefix(m.info.VFSOptions, "ro,")
			if readOnly || slices.Contains(kernelOnly, m.info.FSType) {
				continue
			}
			if byDevice[device] == nil {
				order = append(order, device)
			}
			byDevice[device] = append(byDevice[device], m)
		}
	}
	var systems []*system
	for _, device := range order {
		s, err := within(reachWait, func() (*system, error) { return reach(byDevice[device]) })
		if err != nil {
			s = &system{mount: byDevice[device][0], unreached: err}
		}
		systems = append(systems, s)
	}
	return systems, nil
}

// reachWait bounds what a file system may take whose server is gone.
const reachWait = 5 * time.Second

// within gives what f does, if it does so in time; else f is left to itself.
func within[T any](limit time.Duration, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		value, err := f()
		done <- outcome{value, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.value, o.err
	case <-timer.C:
		return *new(T), fmt.Errorf("no answer within %v", limit)
	}
}

func (m mount) name() string {
	return fmt.Sprintf("%s (%s)%s", m.info.Mountpoint, m.info.FSType, m.owner)
}

// reach finds a mount of a file system that is a directory and is not hidden
// below another.
func reach(mounts []mount) (*system, error) {
	problem := errors.New("another file system is mounted over it")
	for _, m := range mounts {
		s := &system{mount: m}
		dir, err := s.open()
		if err != nil {
			problem = err
			continue
		}
		id, _, err := identify(int(dir.Fd()))
		dir.Close()
		s.device = id.dev
		// A subvolume of btrfs has a number of its own.
		same := int(unix.Major(id.dev)) == m.info.Major && int(unix.Minor(id.dev)) == m.info.Minor || m.info.FSType == "btrfs"
		if err == nil && same {
			return s, nil
		}
	}
	return nil, problem
}

// open opens the directory where it is mounted, for a moment only: it cannot
// be unmounted meanwhile.
func (s *system) open() (*os.File, error) {
	fd, err := unix.Open(s.mount.path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open it: %w", err)
	}
	return os.NewFile(uintptr(fd), s.mount.path), nil
}

// identity tells files apart while they exist.
type identity struct{ dev, ino uint64 }

func identify(fd int) (identity, unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return identity{st.Dev, st.Ino}, st, err
}

// temporary makes a file in a file system that has no name, or none any more,
// so that it is gone when it is closed, whatever becomes of this process.
func (s *system) temporary() (*os.File, error) {
	at, err := s.open()
	if err != nil {
		return nil, err
	}
	defer at.Close()
	fd, err := nameless(int(at.Fd()))
	if errors.Is(err, unix.EROFS) {
		fd, err = s.mount.namelessInClone()
	}
	if err != nil {
		return nil, fmt.Errorf("make file: %w", err)
	}
	return os.NewFile(uintptr(fd), "control"), nil
}

// namelessInClone is for a file system that is mounted read-only here, and
// written to elsewhere: it makes a mount of our own, which is in no namespace
// and ends with its descriptor. A mount can be cloned only from inside its
// namespace (open_tree(2)), so a thread goes there and ends.
func (m mount) namelessInClone() (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if m.pid != 0 {
			runtime.LockOSThread() // and never unlocked: the thread is not used again
			if err = enter(m.pid); err != nil {
				return
			}
		}
		var clone int
		clone, err = unix.OpenTree(unix.AT_FDCWD, m.info.Mountpoint, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
		if err != nil {
			err = fmt.Errorf("clone mount: %w", err)
			return
		}
		defer unix.Close(clone)
		if err = unix.MountSetattr(clone, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
			err = fmt.Errorf("make own mount writable: %w", err)
			return
		}
		fd, err = nameless(clone)
	}()
	<-done
	return fd, err
}

// enter moves the calling thread to the mount namespace of a process.
func enter(pid int) error {
	namespace, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open mount namespace: %w", err)
	}
	defer unix.Close(namespace)
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // which setns(2) asks for
		return fmt.Errorf("unshare file system attributes: %w", err)
	}
	if err := unix.Setns(namespace, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter mount namespace: %w", err)
	}
	return nil
}

func nameless(dir int) (int, error) {
	fd, err := unix.Openat(dir, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return fd, err
	}
	name := ".creel-" + rand.Text() // its file system knows no O_TMPFILE (open(2))
	fd, err = unix.Openat(dir, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, err
	}
	if err := unix.Unlinkat(dir, name, 0); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("unlink %s: %w", name, err)
	}
	return fd, nil
}

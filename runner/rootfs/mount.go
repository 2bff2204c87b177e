package rootfs

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// newTmpfs makes a tmpfs that is mounted nowhere yet and returns a
// descriptor of its root (fsopen(2)). Options are key, value pairs.
func newTmpfs(options ...string) (int, error) {
	return newFilesystem("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
}

// overlay lays the skeleton over dir, both read-only: there is no upper
// layer, so mount points exist without a write to the operator's directory.
func overlay(skeleton, dir int) (int, error) {
	// The descriptors are named by path because fsconfig takes layers by
	// descriptor only from Linux 6.13 on.
	layers := "/proc/self/fd/" + strconv.Itoa(skeleton) + ":/proc/self/fd/" + strconv.Itoa(dir)
	return newFilesystem("overlay", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_RDONLY,
		"lowerdir", layers)
}

func newFilesystem(kind string, attributes int, options ...string) (int, error) {
	fs, err := unix.Fsopen(kind, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", kind, err)
	}
	defer unix.Close(fs)
	for i := 0; i+1 < len(options); i += 2 {
		if err := unix.FsconfigSetString(fs, options[i], options[i+1]); err != nil {
			return -1, fmt.Errorf("configure %s %s: %w", kind, options[i], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, fmt.Errorf("create %s: %w", kind, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return -1, fmt.Errorf("mount %s: %w", kind, err)
	}
	return fd, nil
}

// attach clones the source's mount, not recursively, tightens it and puts it
// on its target below root. The clone is detached until it has its final
// flags, so it is never visible with weaker ones.
func (b bind) attach(root int) (Mount, error) {
	clone, err := unix.OpenTree(b.fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return Mount{}, fmt.Errorf("clone mount: %w", err)
	}
	defer unix.Close(clone)
	attr := unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
		Propagation: unix.MS_PRIVATE,
	}
	if !b.writable {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(clone, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return Mount{}, fmt.Errorf("set mount flags: %w", err)
	}
	target, err := openInRoot(root, b.target)
	if err != nil {
		return Mount{}, fmt.Errorf("open mount point: %w", err)
	}
	defer unix.Close(target)
	flags := unix.MOVE_MOUNT_F_EMPTY_PATH | unix.MOVE_MOUNT_T_EMPTY_PATH
	if err := unix.MoveMount(clone, "", target, "", flags); err != nil {
		return Mount{}, fmt.Errorf("move mount: %w", err)
	}
	return b.mount(), nil
}

// mount is what a sandbox must see of it.
func (b bind) mount() Mount {
	return Mount{Target: b.target, Writable: b.writable, NoExec: b.noExec, Dev: b.dev, Ino: b.ino}
}

// identity gives the device and inode that a descriptor stands for.
func identity(fd int) (dev, ino uint64, err error) {
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return st.Dev, st.Ino, err
}

// openInRoot opens a mount point of the tree, which holds no symlink that
// the supervisor did not make itself; none is followed all the same.
func openInRoot(root int, target string) (int, error) {
	return unix.Openat2(root, relative(target), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

func relative(target string) string {
	return strings.TrimPrefix(path.Clean("/"+target), "/")
}

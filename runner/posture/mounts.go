package posture

import (
	"fmt"
	"io"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/kernelfile"
)

func (p *Posture) readMounts(dir int) error {
	theirs, err := kernelfile.Read(dir, "mountinfo")
	if err != nil {
		return fmt.Errorf("read mountinfo: %w", err)
	}
	ours, err := kernelfile.Read(kernelfile.Path, "/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read own mountinfo: %w", err)
	}
	mounts, ids, err := parseMounts(strings.NewReader(theirs), devices(ours))
	if err != nil {
		return err
	}
	root, err := kernelfile.Open(dir, "root")
	if err != nil {
		return fmt.Errorf("open root of sandbox: %w", err)
	}
	defer unix.Close(root)
	for i := range mounts {
		if err := mounts[i].identify(root, ids[i]); err != nil {
			return err
		}
	}
	p.Mounts = mounts
	p.ProcOf, err = readlinkIn(root, "proc/1/ns/pid")
	return err
}

// parseMounts reads a mountinfo (proc(5)) and gives the mounts with their
// numbers. onHost are the file systems that the supervisor sees.
func parseMounts(r io.Reader, onHost map[string]bool) ([]Mount, []int, error) {
	infos, err := mountinfo.GetMountsFromReader(r, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("parse mountinfo: %w", err)
	}
	mounts, ids := make([]Mount, 0, len(infos)), make([]int, 0, len(infos))
	for _, info := range infos {
		mounts = append(mounts, Mount{
			Target: info.Mountpoint, FSType: info.FSType, Root: info.Root, Source: info.Source,
			Flags: strings.Split(info.Options, ","), Propagation: info.Optional,
			OnHost: onHost[fmt.Sprintf("%d:%d", info.Major, info.Minor)],
		})
		ids = append(ids, info.ID)
	}
	return mounts, ids, nil
}

// devices gives the file systems of a mountinfo, as major:minor.
func devices(text string) map[string]bool {
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if fields := strings.SplitN(line, " ", 4); len(fields) == 4 {
			seen[fields[2]] = true
		}
	}
	return seen
}

// openIn opens a path as a process of the sandbox finds it, following no
// symlink.
func openIn(root int, path string) (int, error) {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		path = "."
	}
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return -1, fmt.Errorf("open /%s of sandbox: %w", path, err)
	}
	return fd, nil
}

func readlinkIn(root int, path string) (string, error) {
	fd, err := openIn(root, path)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var text [64]byte
	n, err := unix.Readlinkat(fd, "", text[:])
	if err != nil {
		return "", fmt.Errorf("read link /%s of sandbox: %w", path, err)
	}
	return string(text[:n]), nil
}

// identify looks at what a process of the sandbox finds at the target, and
// whether that is this mount or one that lies over it.
func (m *Mount) identify(root, mountID int) error {
	fd, err := openIn(root, m.Target)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	mask := unix.STATX_MNT_ID | unix.STATX_INO | unix.STATX_UID
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, mask, &st); err != nil {
		return fmt.Errorf("stat %s of sandbox: %w", m.Target, err)
	}
	m.Hidden = st.Mnt_id != uint64(mountID)
	m.Dev = unix.Mkdev(st.Dev_major, st.Dev_minor)
	m.Ino = st.Ino
	if m.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor); m.Rdev != 0 {
		m.Owner = uint64(st.Uid)
	}
	if m.FSType != "tmpfs" {
		return nil
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return fmt.Errorf("stat file system of %s of sandbox: %w", m.Target, err)
	}
	if fs.Type == unix.TMPFS_MAGIC {
		m.Size, m.Inodes = int64(fs.Blocks)*fs.Bsize, int64(fs.Files)
	}
	return nil
}

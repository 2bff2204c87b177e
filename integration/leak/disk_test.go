// Package leak proves that no byte of a credential reaches a disk, by looking
// at the disk: everything that may be written is on one file system made for
// the test, and after each thing that can happen to an invocation the raw
// device is searched, so that what was written and deleted at once is found
// too. Each run shows first and last that such bytes would be found.
//
// Its tests import testrig and know creel as an operator does. They never
// write outside their own mount namespace, except for the control groups that
// creeld makes and removes.
package leak

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/integration/vault"
)

// diskSize bounds, in bytes, what one run can write. The journal must hold
// every byte of it, or it starts again from its beginning and the oldest
// deleted ones are gone: that the first control is still found at the end
// shows that it did not.
const (
	diskSize    = 4 << 30
	journalSize = "2000" // MiB; mkfs allows half the disk
)

// The places of the rig, directories that every Debian has. Their mounts
// exist in the rig's namespace only.
const (
	diskDir  = "/mnt" // the disk that is searched
	vaultDir = "/srv" // holds the credentials and the binaries, in memory that is never swapped (ramfs)
)

// The test starts itself a second time, in a mount namespace of its own.
var (
	inRig    = flag.Bool("in-rig", false, "this is the second start, which TestMain makes itself")
	device   = flag.String("device", "", "with -in-rig: the disk; its raw bytes are on descriptor 3, and the program of a vault on 4")
	binaries = flag.String("binaries", "", "with -in-rig: where creel, creeld and creel-init were built")
)

// image is the raw disk, for the second start.
var image *os.File

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := 0, error(nil)
	if *inRig {
		if err = enterRig(); err == nil {
			code = m.Run()
		}
	} else {
		code, err = startInRig()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "leak: error:", err)
		code = 1
	}
	os.Exit(code)
}

// startInRig makes what must exist before the namespace does, the binaries
// and the disk, and starts this test again. Both the disk's file, which has
// no name, and the loop device end with the last process that uses them.
func startInRig() (int, error) {
	runtime.LockOSThread() // the kernel sends Pdeathsig when the thread ends
	built, err := testrig.Build()
	if err != nil {
		return 0, err
	}
	disk, err := newDisk()
	if err != nil {
		return 0, err
	}
	loop, err := attach(disk)
	if err != nil {
		return 0, err
	}
	defer loop.Close()
	mkfs := exec.Command("mkfs.ext4", "-q", "-E", "nodiscard", "-O", "^metadata_csum", "-J", "size="+journalSize, loop.Name())
	mkfs.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := mkfs.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("make file system: %w\n%s", err, out)
	}
	// Go's log of files for its cache of results would be outside the disk.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(arg string) bool { return strings.HasPrefix(arg, "-test.testlogfile=") })
	self := exec.Command("/proc/self/exe", append([]string{"-in-rig", "-device=" + loop.Name(), "-binaries=" + built}, args...)...)
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	vaultServer, err := os.Open(vault.Program(&testrig.Lasting{Prefix: "leak: "}))
	if err != nil {
		return 0, err
	}
	defer vaultServer.Close()
	self.ExtraFiles = []*os.File{disk, vaultServer}
	self.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = self.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return max(failed.ExitCode(), 1), nil
	}
	return 0, err
}

func newDisk() (*os.File, error) {
	disk, err := os.CreateTemp("", "creel-leak-")
	if err != nil {
		return nil, err
	}
	return disk, errors.Join(os.Remove(disk.Name()), disk.Truncate(diskSize))
}

// attach makes a loop device of the disk (loop(4)) that is freed when nothing
// uses it any more, however the test ends.
func attach(disk *os.File) (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find free loop device: %w", err)
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(disk.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(loop.Fd()), &config)
		if err == nil {
			return loop, nil
		}
		loop.Close()
		if !errors.Is(err, unix.EBUSY) { // EBUSY: another process was faster
			return nil, fmt.Errorf("configure %s: %w", loop.Name(), err)
		}
	}
}

// writable are the places that programs write to, all of which are on the
// disk: the runtimes' default state directories, temporary files, logs and
// shared memory, which a host may well keep on a disk or in swap.
var writable = []struct {
	dir  string
	mode os.FileMode
}{
	{"/tmp", 0o777 | os.ModeSticky}, {"/var/tmp", 0o777 | os.ModeSticky}, {"/dev/shm", 0o777 | os.ModeSticky},
	{"/run", 0o755}, {"/var/lib", 0o755}, {"/var/log", 0o755}, {"/var/cache", 0o755},
	{"/etc/docker", 0o755}, // where a Docker daemon puts its key; its package has made it
}

// enterRig arranges the mounts: the disk, options and all, for everything
// that may be written, and nothing else that can be.
func enterRig() error {
	if *device == "" || *binaries == "" {
		return errors.New("enter rig: -in-rig is for TestMain alone")
	}
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	image = os.NewFile(3, "disk")
	if err := seal(); err != nil {
		return err
	}
	if err := fillVault(); err != nil {
		return err
	}
	// No barriers: what is searched is what the device was sent, and a device
	// that is flushed after each write is ten times as slow.
	const options = "nodiscard,nodelalloc,data=journal,commit=1,barrier=0"
	if err := unix.Mount(*device, diskDir, "ext4", unix.MS_SYNCHRONOUS, options); err != nil {
		return fmt.Errorf("mount disk: %w", err)
	}
	for _, w := range writable {
		dir := filepath.Join(diskDir, strings.ReplaceAll(w.dir, "/", "-"))
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, w.mode)); err != nil {
			return err
		}
		if err := unix.Mount(dir, w.dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount disk on %s: %w", w.dir, err)
		}
	}
	return os.Setenv("TMPDIR", "/tmp")
}

// fillVault puts the binaries in memory, since the places that the rig's
// mounts cover may be where they were built.
func fillVault() error {
	built, err := os.OpenRoot(*binaries)
	if err != nil {
		return err
	}
	defer built.Close()
	if err := unix.Mount("ramfs", vaultDir, "ramfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount %s: %w", vaultDir, err)
	}
	*binaries = vaultDir + "/bin"
	return os.CopyFS(*binaries, built.FS())
}

// kernelFilesystems keep no file that a program writes, and creel and the
// runtimes need to write to them.
var kernelFilesystems = []string{"proc", "sysfs", "cgroup", "cgroup2", "devpts"}

// seal makes every mount read-only but those, so that a stray write fails.
func seal() error {
	err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return fmt.Errorf("make mounts read-only: %w", err)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter(kernelFilesystems...))
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range mounts {
		err := unix.MountSetattr(unix.AT_FDCWD, m.Mountpoint, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: covered by a later mount
			return fmt.Errorf("make %s writable: %w", m.Mountpoint, err)
		}
	}
	return nil
}

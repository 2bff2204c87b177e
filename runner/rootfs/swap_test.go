package rootfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
)

func TestChangedSourceGivesANewTree(t *testing.T) {
	r := newRig(t)
	a, other := r.mkdir("a"), r.mkdir("b")
	check(t, os.WriteFile(a+"/me", []byte("a"), 0o644))
	check(t, os.WriteFile(other+"/me", []byte("b"), 0o644))
	for _, p := range []*policy.Policy{declare(a, "/workspace"), {Name: "dir", Root: policy.Root{Dir: a}}} {
		find := func(tree *Tree) string {
			if p.Root.Dir != "" {
				return read(t, tree.Path+"/me")
			}
			return read(t, tree.Path+"/workspace/me")
		}
		first, again := r.acquire(p), r.acquire(p)
		if first != again || find(first) != "a" {
			t.Errorf("%s: an unchanged policy gets another tree", p.Name)
		}
		check(t, unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
		second := r.acquire(p)
		if second == first || find(second) != "b" {
			t.Errorf("%s: the tree is still made of what was swapped out", p.Name)
		}
		if find(first) != "a" {
			t.Errorf("%s: the tree of a running sandbox changed", p.Name)
		}
		check(t, unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE))
	}
	changed := declare(a, "/workspace")
	before := r.acquire(changed)
	changed.Mounts[0].Writable = false
	if r.acquire(changed) == before {
		t.Error("a changed policy gets the old tree")
	}
}

// A directory that turns into a symlink to a secret and back, as fast as it
// can, is either refused or is the directory: never what the link names.
func TestSwappedSourceIsNeverFollowed(t *testing.T) {
	r := newRig(t)
	good, secret, link := r.mkdir("good"), r.mkdir("secret"), r.dir+"/link"
	check(t, os.WriteFile(good+"/good", nil, 0o644))
	check(t, os.WriteFile(secret+"/secret", nil, 0o644))
	check(t, os.Symlink(secret, link))
	stop, stopped, swapped := make(chan struct{}), make(chan error, 1), make(chan struct{}, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, good, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
				stopped <- err
				return
			}
			select {
			case swapped <- struct{}{}:
			default:
			}
		}
	}()
	refused, taken := 0, 0
	for i := 0; i < 1000 || refused == 0 || taken == 0; i++ {
		<-swapped
		tree, err := r.Acquire(declare(good, "/workspace"), who, r.init)
		if errors.Is(err, unix.ELOOP) {
			refused++
			continue
		}
		check(t, err)
		taken++
		if _, err := os.Lstat(tree.Path + "/workspace/secret"); err == nil {
			t.Fatal("the link was followed")
		}
		if _, err := os.Lstat(tree.Path + "/workspace/good"); err != nil {
			t.Fatal("neither the directory nor refused")
		}
		check(t, tree.Release())
	}
	close(stop)
	check(t, <-stopped)
	t.Logf("%d refused, %d taken", refused, taken)
}

// A directory that an operator unpacked is laid under, never written to,
// whatever is in it.
func TestDirRootIsOnlyRead(t *testing.T) {
	r := newRig(t)
	root := r.mkdir("root/usr")[:len(r.dir)+len("/root")]
	outside := r.mkdir("outside")
	for _, name := range []string{"dev", "etc", "proc", "tmp", "workspace", ".creel"} {
		check(t, os.Symlink(outside, root+"/"+name))
	}
	check(t, os.WriteFile(root+"/usr/hello", []byte("hello"), 0o644))
	suid := r.suid(root + "/usr/suid")
	p := declare(r.mkdir("w"), "/workspace/deep")
	p.Root = policy.Root{Dir: root}
	check(t, os.WriteFile(r.dir+"/w/mine", nil, 0o644))
	tree := r.acquire(p)
	if got := read(t, tree.Path+"/usr/hello"); got != "hello" {
		t.Errorf("the root's file: %q", got)
	}
	for _, name := range []string{"dev", "proc", "tmp", "workspace"} {
		if info, err := os.Lstat(tree.Path + "/" + name); err != nil || !info.IsDir() {
			t.Errorf("/%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Lstat(tree.Path + "/workspace/deep/mine"); err != nil {
		t.Errorf("the declared mount: %v", err)
	}
	if err := os.WriteFile(tree.Path+"/usr/new", nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write: %v", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("written through a symlink of the root: %v, %v", entries, err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 7 {
		t.Errorf("stubs in the operator's directory: %v, %v", entries, err)
	}
	if euid(t, suid) != "0" {
		t.Error("control: the set-uid file does not work outside either")
	}
	if euid(t, tree.Path+"/usr/suid") == "0" {
		t.Error("a set-uid file of the root works")
	}
}

// suid copies id(1) as a set-uid root program.
func (r *rig) suid(path string) string {
	r.t.Helper()
	id, err := exec.LookPath("id")
	check(r.t, err)
	check(r.t, os.WriteFile(path, []byte(read(r.t, id)), 0o755))
	check(r.t, os.Chmod(path, 0o755|os.ModeSetuid))
	// For the user below to walk through.
	for dir := filepath.Dir(path); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		check(r.t, os.Chmod(dir, 0o755))
	}
	return path
}

// euid runs a copy of id(1) as the sandbox's user.
func euid(t *testing.T, path string) string {
	t.Helper()
	cmd := exec.Command(path, "-u")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who.UID, Gid: who.GID}}
	out, err := cmd.Output()
	check(t, err)
	return string(out[:len(out)-1])
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	r := newRig(t)
	before, open := mountCount(t), openFiles(t)
	for _, p := range []*policy.Policy{
		declare(r.mkdir("w"), "/usr/no/such/mount/point"), // a mount point would have to be made in the host's /usr
		declare(r.file("f", ""), "/workspace/../usr"),     // a file over a directory
	} {
		if tree, err := r.Acquire(p, who, r.init); err == nil {
			t.Errorf("%s: built: %v", p.Mounts[0].Target, tree.Mounts)
		}
	}
	if after := mountCount(t); after != before {
		t.Errorf("%d mounts before, %d after", before, after)
	}
	if entries, err := os.ReadDir(r.dir + "/stage"); err != nil || len(entries) != 0 {
		t.Errorf("the stage holds %v, %v", entries, err)
	}
	if _, err := os.Lstat("/usr/no"); err == nil {
		t.Error("something was made in the host's /usr")
	}
	r.acquire(declare(r.mkdir("w"), "/workspace"))
	if after := openFiles(t); after != open {
		t.Errorf("%d descriptors before, %d after", open, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

func TestReplacedTreeIsUnmountedWithItsLastUser(t *testing.T) {
	r := newRig(t)
	p := declare(r.mkdir("w"), "/workspace")
	first, err := r.Acquire(p, who, r.init)
	check(t, err)
	p.Mounts[0].Target = "/other"
	mounts := mountCount(t)
	r.acquire(p)
	check(t, first.Release())
	if after := mountCount(t); after != mounts {
		t.Errorf("%d mounts with one tree, %d with its replacement", mounts, after)
	}
	if _, err := os.Lstat(first.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory: %v", err)
	}
}

// TestRootOfARemovedPolicyIsUnmounted, but not under a sandbox that is being
// created from it.
func TestRootOfARemovedPolicyIsUnmounted(t *testing.T) {
	r := newRig(t)
	kept, gone := declare(r.mkdir("kept"), "/w"), declare(r.mkdir("gone"), "/w")
	gone.Name = "gone"
	tree, err := r.Acquire(kept, who, r.init)
	check(t, err)
	check(t, tree.Release())
	before := mountCount(t)
	used, err := r.Acquire(gone, who, r.init)
	check(t, err)
	check(t, r.Keep([]string{"p"}))
	if got := mountCount(t); got <= before {
		t.Errorf("%d mounts before, %d while it is used", before, got)
	}
	check(t, used.Release())
	if got := mountCount(t); got != before {
		t.Errorf("%d mounts before, %d after", before, got)
	}
}

// A process that is just being started holds copies of all descriptors; none
// of them may keep a root from becoming read-only.
func TestRootIsMadeWhileProcessesStart(t *testing.T) {
	r := newRig(t)
	stop := make(chan struct{})
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("/bin/true").Run()
				}
			}
		})
	}
	defer starting.Wait()
	defer close(stop)
	for i := range 300 {
		p := declare(r.mkdir(fmt.Sprint("w", i)), "/workspace")
		tree, err := r.Acquire(p, who, r.init)
		if err != nil {
			t.Fatalf("root %d: %v", i, err)
		}
		check(t, tree.Release())
	}
}

// Nothing is mounted that can be written: who goes on writing keeps the root from
// being used, and who stops lets it be.
func TestRootThatIsBeingWrittenIsNotUsed(t *testing.T) {
	root, err := newTmpfs("mode", "0755", "size", "1m")
	check(t, err)
	defer unix.Close(root)
	path := t.TempDir()
	check(t, unix.MoveMount(root, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH))
	t.Cleanup(func() { check(t, unix.Unmount(path, unix.MNT_DETACH)) })
	file, err := os.Create(path + "/file")
	check(t, err)
	if err := makeReadOnly(root); err != unix.EBUSY {
		t.Errorf("while a file is being written: %v", err)
	}
	done := make(chan error)
	go func() { done <- makeReadOnly(root) }()
	select {
	case err := <-done:
		t.Errorf("while a file is being written: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	check(t, file.Close())
	check(t, <-done)
	if err := os.WriteFile(path+"/file", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("afterwards writing gives %v", err)
	}
}

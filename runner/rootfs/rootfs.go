// Package rootfs builds the read-only root file system of a policy as a tree
// of mounts: a skeleton on a tmpfs, the root the policy names, creel-init and
// the declared mounts. The tree is built once, in the supervisor's private
// mount namespace, and every sandbox of the policy gets its own copy of it
// when the OCI runtime binds it recursively (mount_namespaces(7)).
//
// Every source is opened once, without following a symlink, and mounted by
// that descriptor (openat2(2), open_tree(2), move_mount(2)): there is no
// moment between a check and a use for somebody to swap a directory in.
//
// It imports policy and image, and never starts a process or writes outside its stage.
package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/image"
)

// InitTarget is where creel-init is found inside every sandbox.
const InitTarget = "/.creel/init"

// Identity is the user that a sandbox runs as, looked up on this host.
type Identity struct {
	Name, Group string
	UID, GID    uint32
}

// Stage is the directory in which trees are built: a tmpfs that exists only
// in the supervisor's mount namespace and so ends with it.
type Stage struct {
	dir    string
	images *image.Store
	mu     sync.Mutex
	next   int
	// trees holds, by policy name, the tree that new sandboxes get.
	trees map[string]*Tree
}

// NewStage mounts the stage over dir, which must exist; roots that are images
// are found in images. The calling process must already be in a mount namespace
// of its own.
func NewStage(dir string, images *image.Store) (*Stage, error) {
	fd, err := newTmpfs("mode", "0711", "size", "16m")
	if err != nil {
		return nil, fmt.Errorf("make stage: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, fmt.Errorf("mount stage on %s: %w", dir, err)
	}
	return &Stage{dir: dir, images: images, trees: map[string]*Tree{}}, nil
}

// Close unmounts every tree and the stage itself, and removes its directory.
func (s *Stage) Close() error {
	if err := unix.Unmount(s.dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount stage: %w", err)
	}
	return os.Remove(s.dir)
}

// View is what a sandbox must see of a root file system.
type View struct {
	// Mounts are its mounts, in the order they were made.
	Mounts []Mount
	// Dev and Ino identify the root directory.
	Dev, Ino uint64
}

// Tree is one built root file system.
type Tree struct {
	View
	// Path is the root directory, for the OCI runtime to bind.
	Path  string
	key   fingerprint
	users int // sandboxes being created from it, and one for the stage
	stage *Stage
	image *image.Image // held, where the root is one
}

// Mount is one mount of a tree, with the identity of what was mounted, so
// that a sandbox's own view can be compared with it.
type Mount struct {
	Target   string
	Writable bool
	NoExec   bool
	Dev, Ino uint64
}

// Acquire gives the tree of a policy, building it when there is none yet or
// when anything it was made of (a source, the policy, the host's /etc) is no
// longer the same. The caller must Release it once its sandbox exists.
func (s *Stage) Acquire(p *policy.Policy, who Identity, initPath string) (*Tree, error) {
	sources, err := openSources(p, s.images, initPath)
	if err != nil {
		return nil, err
	}
	defer sources.close()
	key, err := sources.fingerprint(p, who)
	if err != nil {
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if tree := s.trees[p.Name]; tree != nil {
		if tree.key == key {
			tree.users++
			return tree, nil
		}
		delete(s.trees, p.Name)
		if err := s.release(tree); err != nil {
			return nil, err
		}
	}
	tree, err := s.build(p, who, sources)
	if err != nil {
		return nil, err
	}
	tree.key = key
	tree.users = 2 // the stage and the caller
	tree.image, sources.image = sources.image, nil
	s.trees[p.Name] = tree
	return tree, nil
}

// Keep drops the trees of all policies but the named ones; those that a
// sandbox is being created from go when it exists.
func (s *Stage) Keep(policies []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for name, tree := range s.trees {
		if !slices.Contains(policies, name) {
			delete(s.trees, name)
			errs = append(errs, s.release(tree))
		}
	}
	return errors.Join(errs...)
}

// Release gives a tree back; the last one to do so after the tree was
// replaced unmounts it.
func (t *Tree) Release() error {
	t.stage.mu.Lock()
	defer t.stage.mu.Unlock()
	return t.stage.release(t)
}

func (s *Stage) release(t *Tree) error {
	t.users--
	if t.users > 0 {
		return nil
	}
	if err := unix.Unmount(t.Path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", t.Path, err)
	}
	if t.image != nil {
		if err := t.image.Release(); err != nil {
			return fmt.Errorf("release image: %w", err)
		}
	}
	return os.Remove(t.Path)
}

// build makes the whole tree, or nothing.
func (s *Stage) build(p *policy.Policy, who Identity, sources *sources) (tree *Tree, err error) {
	s.next++
	path := filepath.Join(s.dir, strconv.Itoa(s.next))
	if err := os.Mkdir(path, 0o755); err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(unix.Unmount(path, unix.MNT_DETACH), unix.EINVAL), os.Remove(path))
		}
	}()

	skeleton, err := newTmpfs("mode", "0755", "size", "8m")
	if err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	defer unix.Close(skeleton)
	if err := fillSkeleton(skeleton, p, who, sources); err != nil {
		return nil, fmt.Errorf("fill root: %w", err)
	}
	root := skeleton
	if sources.dir >= 0 {
		if root, err = overlay(skeleton, sources.dir); err != nil {
			return nil, fmt.Errorf("lay %s under the root: %w", p.Root.Dir+p.Root.Image, err)
		}
		defer unix.Close(root)
	}
	if err := unix.MoveMount(root, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, fmt.Errorf("mount root: %w", err)
	}
	tree = &Tree{Path: path, stage: s}
	if tree.Dev, tree.Ino, err = identity(root); err != nil {
		return nil, fmt.Errorf("stat root: %w", err)
	}
	for _, source := range sources.binds {
		mount, err := source.attach(root)
		if err != nil {
			return nil, fmt.Errorf("mount %s on %s: %w", source.path, source.target, err)
		}
		tree.Mounts = append(tree.Mounts, mount)
	}
	// Last: until here the mount points had to be made in it.
	if err := makeReadOnly(root); err != nil {
		return nil, fmt.Errorf("make root read-only: %w", err)
	}
	return tree, nil
}

// busyTime is how long a root may be held by those who are to let it go.
const busyTime = 2 * time.Second

// makeReadOnly waits for those who have a file of the root open to write, EBUSY
// in mount_setattr(2): a process that was being started meanwhile has what is
// written here open too, until its execve(2).
func makeReadOnly(root int) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	for deadline := time.Now().Add(busyTime); ; time.Sleep(time.Millisecond) {
		err := unix.MountSetattr(root, "", unix.AT_EMPTY_PATH, &attr)
		if err != unix.EBUSY || time.Now().After(deadline) {
			return err
		}
	}
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

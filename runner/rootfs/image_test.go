package rootfs

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/image"
)

// store puts an image with one file into the rig's store.
func (r *rig) store(id, name, text string) {
	r.t.Helper()
	w, err := r.images.Write(r.t.Context(), nil)
	check(r.t, err)
	defer w.Close()
	draft, err := w.Draft()
	check(r.t, err)
	check(r.t, os.WriteFile(draft.Path+"/image/rootfs/hello", []byte(text), 0o644))
	check(r.t, os.Symlink("/etc", draft.Path+"/image/rootfs/workspace"))
	check(r.t, draft.Commit(image.Info{ID: id}))
	check(r.t, draft.Close())
	check(r.t, w.Name(id, name))
}

// The image of a root is read-only, shared by all sandboxes, and stays for as
// long as one of them is there.
func TestImageIsHeldWhileASandboxHasIt(t *testing.T) {
	r := newRig(t)
	first := "sha256:" + strings.Repeat("1", 64)
	r.store(first, "tools:1", "first")
	w, err := r.images.Write(t.Context(), nil)
	check(t, err)
	defer w.Close()
	p := declare(r.mkdir("w"), "/workspace")
	p.Root = policy.Root{Image: "tools:1"}
	tree, err := r.Acquire(p, who, r.init)
	check(t, err)
	if got := read(t, tree.Path+"/hello"); got != "first" {
		t.Errorf("the image's file: %q", got)
	}
	if err := os.WriteFile(tree.Path+"/hello", nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write: %v", err)
	}
	if info, err := os.Lstat(tree.Path + "/workspace"); err != nil || !info.IsDir() {
		t.Errorf("a symlink of the image at a mount point: %v, %v", info, err)
	}
	again, err := r.Acquire(p, who, r.init)
	check(t, err)
	if again != tree {
		t.Error("the same image gave another tree")
	}
	check(t, again.Release())
	if err := w.Remove(first); !errors.Is(err, image.ErrInUse) {
		t.Errorf("removal of an image in use: %v", err)
	}
	check(t, tree.Release())
	check(t, r.Keep(nil))
	check(t, w.Remove(first))
	if _, err := r.Acquire(p, who, r.init); err == nil {
		t.Error("control: a removed image still makes a root")
	}
}

func TestTagThatMovedGivesANewTree(t *testing.T) {
	r := newRig(t)
	r.store("sha256:"+strings.Repeat("1", 64), "tools:1", "first")
	p := declare(r.mkdir("w"), "/workspace")
	p.Root = policy.Root{Image: "tools:1"}
	before := r.acquire(p)
	r.store("sha256:"+strings.Repeat("2", 64), "tools:1", "second")
	if got := read(t, r.acquire(p).Path+"/hello"); got != "second" {
		t.Errorf("after the tag moved: %q", got)
	}
	if got := read(t, before.Path+"/hello"); got != "first" {
		t.Errorf("what an older sandbox sees: %q", got)
	}
}

// Package vm boots a real Debian 12 machine (its own kernel, systemd as PID 1,
// nothing but cgroup v2) for the tests that need one, emulated by QEMU so
// that it works on hosts without KVM.
//
// It may import the standard library and golang.org/x/sys and nothing of
// ours: what it runs inside the machine is the caller's. It never touches the
// network while a machine runs, never changes an image once built, and never
// leaves a process behind.
package vm

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

//go:embed build-image
var buildScript string

// packages is what the machine holds besides Debian's required ones.
var packages = []string{
	"systemd-sysv", "dbus", "kmod", "procps", "util-linux", "iproute2",
	"runc", "crun", "libseccomp2", "python3-minimal",
}

// Image is a built machine: a kernel and a root file system, never written to.
type Image struct {
	Kernel string // path of a bzImage
	Root   string // path of an ext4 file system
}

// Cached returns the machine's image, and builds it first when the cache of
// the user (os.UserCacheDir, in creel/vm) has none made by the same recipe
// from the same list of packages. Building takes half a minute, root, and
// apt's own sources; what is said meanwhile goes to progress.
func Cached(ctx context.Context, progress io.Writer) (Image, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Image{}, fmt.Errorf("find cache directory: %w", err)
	}
	dir := filepath.Join(cache, "creel", "vm")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Image{}, fmt.Errorf("make cache directory: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Image{}, fmt.Errorf("lock image cache: %w", err)
	}
	defer unlock()

	built := filepath.Join(dir, recipeKey())
	if _, err := os.Stat(built); err != nil {
		if err := build(ctx, built, progress); err != nil {
			return Image{}, fmt.Errorf("build image: %w", err)
		}
	}
	return Image{Kernel: filepath.Join(built, "vmlinuz"), Root: filepath.Join(built, "root.ext4")}, nil
}

// recipeKey names an image by everything that decides what is in it.
func recipeKey() string {
	sum := sha256.Sum256([]byte(buildScript + strings.Join(packages, "\n")))
	return hex.EncodeToString(sum[:8])
}

// build makes the image beside its final place and renames it, so that one
// that exists is always whole.
func build(ctx context.Context, into string, progress io.Writer) error {
	partial, err := os.MkdirTemp(filepath.Dir(into), "partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	cmd := exec.CommandContext(ctx, "bash", append([]string{"-c", buildScript, "build-image", partial}, packages...)...)
	cmd.Stdout, cmd.Stderr = progress, progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run build-image: %w", err)
	}
	return os.Rename(partial, into)
}

// lock takes an exclusive flock(2), which the kernel drops with its holder.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

// Package vm boots a real Debian 12 machine (its own kernel, systemd as PID 1,
// nothing but cgroup v2) for the tests that need one, emulated by QEMU so
// that it works on hosts without KVM.
//
// It may import the standard library and package cache, and nothing else of
// ours: what it runs inside the machine is the caller's. It never touches the
// network while a machine runs, never changes an image once built, and never
// leaves a process behind.
package vm

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/creel-sandbox/creel/integration/cache"
)

//go:embed build-image
var buildScript string

// packages is what the machine holds besides Debian's required ones.
var packages = []string{
	"systemd-sysv", "dbus", "kmod", "procps", "util-linux", "iproute2",
	"runc", "crun", "libseccomp2", "python3",
	"libtss2-esys-3.0.2-0", "libtss2-rc0", "libtss2-mu0", "libtss2-tcti-device0", // which systemd opens to use a TPM
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
	users, err := os.UserCacheDir()
	if err != nil {
		return Image{}, fmt.Errorf("find cache directory: %w", err)
	}
	recipe := buildScript + strings.Join(packages, "\n")
	built, err := cache.Directory(filepath.Join(users, "creel", "vm"), 0o700, recipe, func(partial string) error {
		cmd := exec.CommandContext(ctx, "bash", append([]string{"-c", buildScript, "build-image", partial}, packages...)...)
		cmd.Stdout, cmd.Stderr = progress, progress
		return cmd.Run()
	})
	if err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	return Image{Kernel: filepath.Join(built, "vmlinuz"), Root: filepath.Join(built, "root.ext4")}, nil
}

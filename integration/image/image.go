// Package image builds the small sandbox image that `make image` makes, once
// for all tests of a machine that want an image or a directory as their root.
//
// It may import the standard library and golang.org/x/sys and nothing of
// ours. It never changes an image once built: whoever imports or mounts one
// does so read-only.
package image

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

//go:embed build
var buildScript string

// cache is no directory of a user's home, since a policy refuses those of
// root as a root.
const cache = "/var/cache/creel/image"

// Tag is the name of the image in its archive.
const Tag = "creel-sandbox:test"

// Image is a built image, never written to.
type Image struct {
	ID      string // sha256:…, the digest of its configuration
	Archive string // path of the docker-archive that holds it under Tag
	Dir     string // its file system unpacked, for `root: {dir: …}`
}

// Cached returns the image, and builds it first when the machine has none made
// by the same recipe. Building takes half a minute, root, and apt's own
// sources; what is said meanwhile goes to progress.
func Cached(ctx context.Context, progress io.Writer) (Image, error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Image{}, fmt.Errorf("make cache directory: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Image{}, fmt.Errorf("lock image cache: %w", err)
	}
	defer unlock()

	sum := sha256.Sum256([]byte(buildScript))
	built := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(built); err != nil {
		if err := build(ctx, built, progress); err != nil {
			return Image{}, fmt.Errorf("build image: %w", err)
		}
	}
	id, err := os.ReadFile(filepath.Join(built, "id"))
	if err != nil {
		return Image{}, fmt.Errorf("read image ID: %w", err)
	}
	return Image{ID: strings.TrimSpace(string(id)), Archive: filepath.Join(built, "image.tar"), Dir: filepath.Join(built, "root")}, nil
}

// build makes the image beside its final place and renames it, so that one
// that exists is always whole.
func build(ctx context.Context, into string, progress io.Writer) error {
	partial, err := os.MkdirTemp(cache, "partial-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial)
	if err := os.Chmod(partial, 0o755); err != nil {
		return err
	}
	run := func(argv ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stderr = progress
		return cmd.Output()
	}
	archive, root := filepath.Join(partial, "image.tar"), filepath.Join(partial, "root")
	id, err := run("bash", "-c", buildScript, "build", archive, Tag)
	if err != nil {
		return fmt.Errorf("run build: %w", err)
	}
	if err := os.WriteFile(filepath.Join(partial, "id"), id, 0o644); err != nil {
		return err
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	const unpack = `tar -xOf "$0" layer.tar | tar -xp --numeric-owner -C "$1"`
	if _, err := run("bash", "-euo", "pipefail", "-c", unpack, archive, root); err != nil {
		return fmt.Errorf("unpack image: %w", err)
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

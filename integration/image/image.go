// Package image builds the small sandbox image that `make image` makes, once
// for all tests of a machine that want an image or a directory as their root.
//
// It may import the standard library and package cache, and nothing else of
// ours. It never changes an image once built: whoever imports or mounts one
// does so read-only.
package image

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

//go:embed build
var buildScript string

// place is no directory of a user's home, since a policy refuses those of
// root as a root.
const place = "/var/cache/creel/image"

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
	built, err := cache.Directory(place, 0o755, buildScript, func(partial string) error { return build(ctx, partial, progress) })
	if err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	id, err := os.ReadFile(filepath.Join(built, "id"))
	if err != nil {
		return Image{}, fmt.Errorf("read image ID: %w", err)
	}
	return Image{ID: strings.TrimSpace(string(id)), Archive: filepath.Join(built, "image.tar"), Dir: filepath.Join(built, "root")}, nil
}

// build makes the image in a directory.
func build(ctx context.Context, into string, progress io.Writer) error {
	run := func(argv ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stderr = progress
		return cmd.Output()
	}
	archive, root := filepath.Join(into, "image.tar"), filepath.Join(into, "root")
	id, err := run("bash", "-c", buildScript, "build", archive, Tag)
	if err != nil {
		return fmt.Errorf("run build: %w", err)
	}
	if err := os.WriteFile(filepath.Join(into, "id"), id, 0o644); err != nil {
		return err
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	const unpack = `tar -xOf "$0" layer.tar | tar -xp --numeric-owner -C "$1"`
	if _, err := run("bash", "-euo", "pipefail", "-c", unpack, archive, root); err != nil {
		return fmt.Errorf("unpack image: %w", err)
	}
	return nil
}

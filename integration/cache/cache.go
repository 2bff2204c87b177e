// Package cache keeps what takes tests long to build, on the machine, for all
// runs of them: a directory for each recipe, made once and never changed.
//
// It may import the standard library and golang.org/x/sys and nothing of ours.
package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Directory gives the directory below dir that was built by a recipe, and has
// it built first where there is none. It is built beside its place and renamed,
// so that one that exists is always whole; others wait meanwhile. dir is made
// with the mode perm.
func Directory(dir string, perm os.FileMode, recipe string, build func(partial string) error) (string, error) {
	if err := os.MkdirAll(dir, perm); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("lock cache: %w", err)
	}
	defer unlock()
	sum := sha256.Sum256([]byte(recipe))
	built := filepath.Join(dir, hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(built); err == nil {
		return built, nil
	}
	partial, err := os.MkdirTemp(dir, "partial-")
	if err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	defer os.RemoveAll(partial)
	if err := os.Chmod(partial, perm); err != nil {
		return "", err
	}
	if err := build(partial); err != nil {
		return "", err
	}
	return built, os.Rename(partial, built)
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

package docker

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// names are the files that say what hosts are called: localhost, and no name
// server. The daemon replaces those of an image by empty files (moby
// initlayer, setup_unix.go); a directory brings its own. In the state
// directory they have a dot before their name, as no sandbox has.
var names = map[string]string{"hosts": rootfs.HostsFile, "resolv.conf": ""}

func (e *Engine) namesPath(name string) string { return filepath.Join(e.stateDir(), "."+name) }

func (e *Engine) writeNames() error {
	for name, text := range names {
		if err := os.WriteFile(e.namesPath(name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write %s of the sandboxes: %w", name, err)
		}
	}
	return nil
}

func (e *Engine) coverNames(b *rootfs.Bundle, root policy.Root) error {
	if root.Dir != "" {
		if err := b.Cover(e.namesPath("resolv.conf"), "/etc/resolv.conf"); err != nil {
			return err
		}
	}
	return b.Cover(e.namesPath("hosts"), "/etc/hosts")
}

package docker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// hostsPath is the /etc/hosts of the sandboxes. The daemon replaces what an
// image has there by an empty file (moby initlayer, setup_unix.go), and the
// command would not find localhost. No sandbox has a name like this file's.
func (e *Engine) hostsPath() string { return filepath.Join(e.stateDir(), ".hosts") }

func (e *Engine) writeHosts() error {
	if err := os.WriteFile(e.hostsPath(), []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		return fmt.Errorf("write hosts file: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(e.hostsPath(), &st); err != nil {
		return fmt.Errorf("stat hosts file: %w", err)
	}
	e.hosts = rootfs.Mount{Target: "/etc/hosts", Dev: st.Dev, Ino: st.Ino}
	return nil
}

// addHosts gives a root that file, unless the policy puts another there. A
// directory that is a root keeps its own.
func (e *Engine) addHosts(b *rootfs.Bundle, root policy.Root) {
	if root.Dir != "" || slices.ContainsFunc(b.Binds, func(bind rootfs.Bind) bool {
		return bind.Target == e.hosts.Target || strings.HasPrefix(e.hosts.Target, bind.Target+"/")
	}) {
		return
	}
	b.Binds = append(b.Binds, rootfs.Bind{Source: e.hostsPath(), Target: e.hosts.Target})
	b.View.Mounts = append(b.View.Mounts, e.hosts)
}

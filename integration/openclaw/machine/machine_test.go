// Package machine has the real OpenClaw kept up by creeld in a machine with a
// real systemd, declared by the commands that README prints, on its own port.
//
// It may import openclaw and what boots a machine. It never starts OpenClaw on
// the machine of the test.
package machine

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/cache"
	"github.com/creel-sandbox/creel/integration/openclaw"
	"github.com/creel-sandbox/creel/integration/readme"
	"github.com/creel-sandbox/creel/integration/vm"
)

//go:embed guest.sh
var guestScript string

// clock has the machine's time pass four times as slowly as an ordinary
// processor's of 3 GHz: OpenClaw allows some of its parts 5 s to start.
const clock = 12_000_000

// TestOpenClawUnderSystemd runs the checks of guest.sh, each a subtest.
func TestOpenClawUnderSystemd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 35*time.Minute)
	defer cancel()
	image, err := vm.Cached(ctx, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	config, err := openclaw.Configuration(openclaw.StandIn(map[string]any{"standin": openclaw.Provider("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY")}))
	if err != nil {
		t.Fatal(err)
	}
	vm.Machine{Image: image, Memory: 5120, Clock: clock, Drives: []string{drive(t)}}.Check(ctx, t, guestScript, map[string][]byte{
		"store":         []byte(readme.Commands(t, "--new-secrets-key")),
		"declare":       []byte(readme.Commands(t, "/usr/share/creel/openclaw.json")),
		"openclaw.json": config,
		"driver":        driver(ctx, t),
	})
}

// driver builds the program of that name, which needs nothing of the machine.
func driver(ctx context.Context, t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "driver")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "./driver")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// drive is a file system that is laid over /usr: OpenClaw and its Node.js, where
// npm install -g puts them.
func drive(t *testing.T) string {
	t.Helper()
	install := openclaw.Install(t)
	dir, err := cache.Directory("/var/cache/creel/openclaw-drive", 0o755, install, func(partial string) error {
		local := filepath.Join(partial, "usr/local")
		if err := os.MkdirAll(filepath.Join(local, "bin"), 0o755); err != nil {
			return err
		}
		if err := os.CopyFS(filepath.Join(local, "lib"), os.DirFS(install)); err != nil {
			return err
		}
		err := errors.Join(
			os.Symlink("../lib/node_modules/openclaw/openclaw.mjs", filepath.Join(local, "bin/openclaw")),
			os.Symlink("../"+openclaw.Node("lib"), filepath.Join(local, "bin/node")))
		if err != nil {
			return err
		}
		out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", filepath.Join(partial, "usr"), partial+"/drive", "3G").CombinedOutput()
		if err != nil {
			return errors.Join(err, errors.New(string(out)))
		}
		return os.RemoveAll(filepath.Join(partial, "usr"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "drive")
}

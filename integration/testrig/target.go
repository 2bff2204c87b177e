package testrig

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/integration/image"
)

// Target is one way to make sandboxes: what makes them, crun, runc or docker,
// what their root is, host, dir or image, and whether they are made ahead. What
// creel promises holds for each.
type Target struct {
	Maker, Root string
	Warm        bool
}

func (t Target) String() string {
	if t.Warm {
		return t.Maker + "/" + t.Root + "/warm"
	}
	return t.Maker + "/" + t.Root
}

// Targets are all that tests are run on.
var Targets = []Target{
	{"crun", "host", false}, {"crun", "dir", true}, {"crun", "image", false},
	{"runc", "host", true}, {"runc", "dir", false}, {"runc", "image", true},
	{"docker", "host", false}, {"docker", "dir", false}, {"docker", "image", true},
}

// Docker reports whether a Docker daemon makes the sandboxes.
func (t Target) Docker() bool { return t.Maker == "docker" }

// Main runs the tests of a package that uses targets, and then ends what they
// shared. It gives the exit code.
func Main(m *testing.M) int {
	code := m.Run()
	shared.End()
	if len(shared.Failures()) > 0 {
		code = 1
	}
	return code
}

// What the tests of one package make once, when it is needed first, and share.
var (
	shared       = &Lasting{}
	sharedImage  = sync.OnceValue(buildImage)
	sharedStore  = sync.OnceValue(fillStore)
	sharedDaemon = sync.OnceValue(startDaemon)
)

// Daemon is the Docker daemon that all tests of the package share.
func Daemon() *dockerd.Daemon { return sharedDaemon() }

func buildImage() image.Image {
	built, err := image.Cached(context.Background(), os.Stderr)
	shared.Check(err)
	return built
}

// fillStore imports the image as a user does.
func fillStore() string {
	dir, err := os.MkdirTemp("/tmp", "creel-images-")
	shared.Check(err)
	shared.Cleanup(func() { shared.Check(os.RemoveAll(dir)) })
	config := dir + "/creel.yaml"
	shared.Check(os.WriteFile(config, fmt.Appendf(nil, "imageDir: %s/store\n", dir), 0o644))
	r := &Rig{t: shared, bin: Binaries(shared)}
	got := r.Creel("image", "--config", config, "import", "--quiet", sharedImage().Archive)
	if got.Code != 0 {
		shared.Fatalf("import the image: %s", got.Stderr)
	}
	return dir + "/store"
}

func startDaemon() *dockerd.Daemon {
	d := dockerd.Start(shared, dockerd.Options{})
	d.Docker("load", "--quiet", "--input", sharedImage().Archive)
	return d
}

// config gives the lines of creel.yaml that a target needs.
func (t Target) config() string {
	lines := ""
	switch {
	case t.Docker():
		lines = "engine: docker\ndockerSocket: " + Daemon().Socket + "\n"
	default:
		lines = "runtime: " + t.Maker + "\n"
	}
	if t.Root == "image" && !t.Docker() {
		lines += "imageDir: " + sharedStore() + "\n"
	}
	return lines
}

// root is the value of a policy's root.
func (t Target) root() string {
	switch t.Root {
	case "dir":
		return "{dir: " + sharedImage().Dir + "}"
	case "image":
		return "{image: creel-sandbox@" + sharedImage().ID + "}"
	}
	return "{host: true}"
}

// pool is the value of a policy's pool.
func (t Target) pool() string {
	if t.Warm {
		return "{warm: 1}"
	}
	return "{}"
}

// userNamespace is the value of a policy's userNamespace.
func (t Target) userNamespace() string {
	if t.Docker() {
		return "off"
	}
	return "required"
}

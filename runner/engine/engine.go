// Package engine says what an engine, the thing that makes containers, owes
// the supervisor. Each engine is a package below this one.
//
// It imports policy and rootfs for the words of its contract, and never makes
// a container itself.
package engine

import (
	"context"
	"net"
	"os"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// Request is one sandbox to make.
type Request struct {
	ID     string
	Policy *policy.Policy
	Who    rootfs.Identity
	// Root is the root file system, whose Path the engine gives the sandbox.
	Root *rootfs.Tree
}

// Sandbox is a container in which creel-init is running and waits.
type Sandbox struct {
	ID string
	// Pid is creel-init's, on the host. Its zombie is the supervisor's to reap,
	// so the number is not reused while the sandbox is held.
	Pid int
	// Pidfd refers to creel-init (pidfd_open(2)): readable once it has ended.
	Pidfd *os.File
	// Control is the supervisor's end of the control socket.
	Control *net.UnixConn
}

// Engine makes and removes containers. All methods may be called
// concurrently.
type Engine interface {
	// Create makes the container and starts creel-init in it. When it fails it
	// leaves nothing behind. It ends early when ctx does.
	Create(ctx context.Context, req Request) (*Sandbox, error)
	// Remove ends and removes a container and all that belongs to it. It may
	// be called for an ID of which only parts, or nothing, exist.
	Remove(ctx context.Context, id string) error
	// List names every container of this supervisor of which anything exists.
	List(ctx context.Context) ([]string, error)
	// Version names the runtime and its version, for people.
	Version(ctx context.Context) (string, error)
}

// Package engine says what an engine, the thing that makes containers, owes
// the supervisor. Each engine is a package below this one.
//
// It imports policy, rootfs, cgroup and advisory for the words of its
// contract, and never makes a container itself.
package engine

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// ErrRefused says that an engine cannot keep what a policy promises. It is
// wrapped by an error that says what and why; nothing was made.
var ErrRefused = errors.New("the engine cannot keep what the policy promises")

// Root is what the sandboxes of one policy are made from, prepared once for
// as many of them as come.
type Root struct {
	// View is what a sandbox made from it must see.
	View rootfs.View
	// Path is the directory that an OCI runtime binds, and Image the ID of the
	// image that Docker takes; an engine sets its own.
	Path, Image string
	// Release gives it back, once the sandbox exists or will not.
	Release func() error
}

// Request is one sandbox to make.
type Request struct {
	ID     string
	Policy *policy.Policy
	Who    rootfs.Identity
	Root   *Root // of this engine and policy
	// Tmp is the /tmp that it shares with other sandboxes of a session; nil: it
	// gets its own. An engine refuses in Prepare what needs one it cannot give.
	Tmp *rootfs.Tmp
}

// Sandbox is a container in which creel-init is running and waits.
type Sandbox struct {
	ID string
	// Pid is creel-init's, on the host. Where the supervisor is its parent, its
	// zombie stays until the sandbox is removed, so the number is not reused while
	// the sandbox is held.
	Pid int
	// Pidfd refers to creel-init (pidfd_open(2)): readable once it has ended.
	Pidfd *os.File
	// Control is the supervisor's end of the control socket.
	Control *net.UnixConn
	// Group is its control group.
	Group cgroup.Group
}

// Listed is a sandbox of which anything exists.
type Listed struct {
	ID    string
	Group cgroup.Group
}

// Engine makes and removes containers. All methods may be called
// concurrently.
type Engine interface {
	// Prepare gives the root of a policy's sandboxes, made anew when anything
	// it was made of has changed. It returns ErrRefused for a policy that this
	// engine cannot keep.
	Prepare(ctx context.Context, p *policy.Policy, who rootfs.Identity) (*Root, error)
	// Keep drops what was prepared for all policies but the named ones.
	Keep(policies []string) error
	// Create makes the container and starts creel-init in it. When it fails it
	// leaves nothing behind. It ends early when ctx does.
	Create(ctx context.Context, req Request) (*Sandbox, error)
	// Remove ends and removes a container and all that belongs to it. It may
	// be called for an ID of which only parts, or nothing, exist.
	Remove(ctx context.Context, id string) error
	// List gives every sandbox of this supervisor of which anything exists.
	List(ctx context.Context) ([]Listed, error)
	// Version names the runtime and its version, for people.
	Version(ctx context.Context) (string, error)
	// Examine tells the doctor what the engine knows of itself; it asks anew.
	Examine(ctx context.Context) (*Health, error)
	// Close removes what the engine itself made; no sandbox exists any more.
	Close() error
}

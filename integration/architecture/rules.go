package architecture

// Exception is one place a rule does not hold, and why.
type Exception struct {
	Where  string // a directory, a file, or FILE:FUNCTION
	Reason string
}

// ImportBan forbids imports. Test files may cross arrows: what they import is
// linked into nothing.
type ImportBan struct {
	From   []string // directories it holds in; empty: everywhere
	Except []Exception
	// Not are import paths that are refused with everything below them. Only,
	// where it is not empty, are the only ones that are allowed.
	Not, Only []string
	Reason    string
}

// CallBan forbids functions, named as PATH.Name.
type CallBan struct {
	From   []string
	Except []Exception
	Calls  []string
	Reason string
}

// std stands for every package of the standard library.
const std = "std"

// ImportBans are the arrows, and the packages that stand alone.
var ImportBans = []ImportBan{
	{
		From: []string{"policy", "profiles"}, Not: []string{Module},
		Reason: "what a policy means must not depend on what runs it",
	},
	{
		From: []string{"runner"}, Not: []string{Module + "/cmd", Module + "/integration"},
		Reason: "arrows point one way: cmd → runner → policy, profiles",
	},
	{
		From: []string{"cmd"}, Not: []string{Module + "/cmd/creel", Module + "/cmd/creeld", Module + "/cmd/creel-init", Module + "/cmd/creel-image",
			Module + "/cmd/creel-check", Module + "/cmd/creel-verify", Module + "/integration"},
		Reason: "a program shares through runner or cmd/internal/program, so that each links only what it needs",
	},
	{
		Not: []string{Module + "/runner/server/servertest", Module + "/runner/privatefile/privatefiletest"}, Except: []Exception{{"integration", "tests"}},
		Reason: "what helps tests is linked into none of the binaries",
	},
	{
		From: []string{"runner/api", "runner/initproto"}, Only: []string{std},
		Reason: "both ends of a wire link it, and the smaller end must stay small",
	},
	{
		From: []string{"runner/dump"}, Only: []string{std, "golang.org/x/sys"},
		Reason: "the smallest client links it",
	},
	{
		From: []string{"runner/privatefile"}, Only: []string{std, "golang.org/x/sys", Module + "/runner/privatefile"},
		Reason: "what is kept of secrets, tokens and leases is whole or not there, whoever keeps it",
	},
	{
		Not:    []string{"github.com/docker/docker", "github.com/moby/moby"},
		Except: []Exception{{"runner/engine/docker", "the one client of the Docker Engine"}},
		Reason: "an engine is chosen by policy, so nothing but the engine may know of Docker",
	},
	{
		Not: []string{"github.com/google/go-containerregistry", "github.com/klauspost/compress"},
		Except: []Exception{
			{"runner/image/fetch", "gets images, for creel-image"},
			{"runner/image/unpack", "decompresses their layers, for creel-image"},
		},
		Reason: "what registries and archives say is read in a process without secrets, and nowhere else",
	},
	{
		From:   []string{"runner"},
		Not:    []string{Module + "/runner/image/fetch", Module + "/runner/image/unpack"},
		Except: []Exception{{"runner/image/fetch", "gets images, and unpacks them"}},
		Reason: "whoever uses an image needs only where it is: runner/image",
	},
	{
		From: []string{"runner/network"}, Not: []string{Module + "/policy", Module + "/runner"},
		Except: []Exception{{"runner/network/egress", "is a connector, of package network"}},
		Reason: "it reads what sandboxes send, and knows of nothing but addresses",
	},
	{
		Not:    []string{"code.dny.dev/ssrf", "golang.org/x/net/idna"},
		Except: []Exception{{"runner/network/egress", "decides what may be reached"}},
		Reason: "what a name means and which addresses are public is decided in one place",
	},
	{
		From: []string{"runner/lease"}, Not: []string{Module + "/runner/credential/vault", "net/http"},
		Reason: "it knows of a lease by what name it is revoked, and nothing of who does",
	},
	{
		Not:    []string{"github.com/hashicorp/vault"},
		Except: []Exception{{"runner/credential/vault", "the one client of a vault"}},
		Reason: "a credential is asked for and taken back in one place",
	},
	{
		Not: []string{"github.com/zricethezav/gitleaks", "github.com/go-git", "github.com/landlock-lsm", "github.com/rs/zerolog"},
		Except: []Exception{
			{"runner/hygiene/scan", "reads workspaces, in a process of its own, for creel-check"},
		},
		Reason: "what a sandbox wrote is parsed in a confined process without secrets, and nowhere else",
	},
	{
		From: []string{"runner", "cmd"}, Not: []string{Module + "/runner/hygiene/scan"},
		Except: []Exception{{"cmd/creel-check/search.go", "is the process that reads"}},
		Reason: "whoever has a workspace searched needs only what starts the search: runner/hygiene",
	},
	{
		From: []string{"runner/hygiene", "cmd/creel-check"}, Not: []string{Module + "/runner/client"},
		Except: []Exception{{"cmd/creel-check/ask.go", "asks for root, in a process that reads no workspace"}},
		Reason: "what reads a workspace has no way to the supervisor",
	},
	{
		Not:    []string{"filippo.io/age", "filippo.io/hpke"},
		Except: []Exception{{"runner/credential/store", "the one file that is encrypted"}},
		Reason: "what opens secrets is in one place, which never keeps a key",
	},
	{
		Not:    []string{"net/http/pprof", "runtime/pprof", "runtime/trace", "runtime/coverage", "expvar"},
		Except: []Exception{{"integration", "measures; it holds no credential"}},
		Reason: "what shows the inside of a running process shows its memory, where credentials are",
	},
	{
		Not:    []string{"github.com/seccomp/libseccomp-golang", "C"},
		Except: []Exception{{"runner/seccomp", "libseccomp compiles the filters, in creeld only"}},
		Reason: "cgo elsewhere would make creel slow to start and creel-init depend on a libc in the sandbox",
	},
	{
		Not:    []string{"github.com/urfave/cli"},
		Except: []Exception{{"cmd", "commands parse, call one function, print"}},
		Reason: "what a library prints or exits with is the command's business",
	},
	{
		From: []string{"policy", "runner/advisory", "runner/spec"},
		Not: []string{"os", "log", "net/http", "net/url", "syscall", "golang.org/x/sys", "golang.org/x/net",
			"github.com/sirupsen/logrus", "math/rand", "crypto/rand", "runtime", "path/filepath", "plugin", "unsafe"},
		Reason: "pure: the same input gives the same answer on every machine",
	},
}

// CallBans are functions with few legitimate places.
var CallBans = []CallBan{
	{
		From: []string{"policy", "runner/advisory", "runner/spec"},
		Calls: []string{"time.Now", "time.Since", "time.Until", "time.After", "time.AfterFunc", "time.Sleep",
			"time.Tick", "time.NewTimer", "time.NewTicker", "time.LoadLocation", "fmt.Print", "fmt.Println", "fmt.Printf",
			"net.LookupHost", "net.LookupIP", "net.Dial", "net.Listen", "net.InterfaceAddrs"},
		Reason: "pure: the clock, the terminal and the network are the caller's",
	},
	{
		Calls: []string{"os/exec.Command", "os/exec.CommandContext", "os/exec.Cmd", "os.StartProcess",
			"syscall.ForkExec", "syscall.StartProcess", "syscall.Exec", "golang.org/x/sys/unix.Exec"},
		Except: []Exception{
			{"runner/engine/oci", "starts the OCI runtime"},
			{"runner/credential", "starts the helper that a policy names as the source of a credential"},
			{"runner/hygiene", "starts the confined search of a workspace"},
			{"cmd/creel-init", "is PID 1 of a sandbox: starts the command inside it"},
			{"runner/host", "re-executes creeld into a mount namespace of its own"},
			{"cmd/creel/delegate.go", "becomes creel-image, creel-check or creel-verify, so that creel links nothing that reads what others wrote"},
			{"runner/leakcheck", "starts its own program, which holds the control, and journalctl; both on the host, for root"},
			{"runner/server/servertest", "starts the real binaries, for tests only"},
			{"integration", "tests start the real things"},
		},
		Reason: "a second way to start a process is a way around the sandbox (GHSA-474h-prjg-mmw3)",
	},
	{
		Calls: []string{"golang.org/x/sys/unix.PR_SET_DUMPABLE", "syscall.PR_SET_DUMPABLE"},
		Except: []Exception{
			{"runner/dump", "forbids dumps"},
			{"cmd/creel-init", "does so before all else, and links nothing for it"},
		},
		Reason: "what keeps the memory of a process to itself is said once, and undone nowhere",
	},
	{
		From:  []string{"cmd", "runner"},
		Calls: []string{"os.Rename", "syscall.Rename", "syscall.Renameat", "golang.org/x/sys/unix.Rename", "golang.org/x/sys/unix.Renameat", "golang.org/x/sys/unix.Renameat2"},
		Except: []Exception{
			{"runner/privatefile", "replaces a file whole, on the disk, and private from its first moment"},
			{"runner/image", "puts directories in their place, which it has written to the disk"},
			{"runner/hygiene/process.go", "replaces what is known of a workspace, which is found out anew where it is lost"},
			{"cmd/creel/exec_result.go", "replaces a file of the caller's, with the mode and the life that the caller wants"},
		},
		Reason: "what must outlast a crash is replaced in one place, by runner/privatefile",
	},
	{
		From:   []string{"cmd", "policy", "profiles", "runner"},
		Calls:  []string{"runtime/debug.WriteHeapDump", "runtime/debug.SetTraceback", "runtime/debug.SetCrashOutput"},
		Reason: "a dump of the heap, or a crash that tells more than Go's own, is written where it stays",
	},
	{
		Calls: []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv",
			"syscall.Getenv", "syscall.Environ", "golang.org/x/sys/unix.Getenv", "golang.org/x/sys/unix.Environ"},
		Except: []Exception{
			{"cmd/creel", "the user says where the sockets are, and what the terminal is"},
			{"cmd/creel-verify", "the user says where the sockets are"},
			{"cmd/creel-check/ask.go", "the user says where the socket is"},
			{"cmd/creeld", "systemd says where its notify socket, listeners and credentials are"},
			{"runner/client", "the user says where the sockets are"},
			{"runner/host", "passes on what systemd told creeld when it re-executes it"},
			{"integration", "tests start the real things"},
		},
		Reason: "whoever starts a process chooses its environment: a role or a path taken from it is theirs",
	},
	{
		From: []string{"policy", "profiles", "runner"},
		Calls: []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "syscall.Exit", "golang.org/x/sys/unix.Exit",
			"github.com/sirupsen/logrus.Fatal", "github.com/sirupsen/logrus.Fatalf", "github.com/sirupsen/logrus.Fatalln"},
		Reason: "one exit per binary, in its main, where every undo has run",
	},
}

// exitCalls end a process; each binary has one.
var exitCalls = CallBans[len(CallBans)-1].Calls

// BinaryRule is what one binary may link, by import path. Built without cgo,
// as the Makefile builds it.
type BinaryRule struct {
	Package   string
	Not, Only []string // as in ImportBan
	Reason    string
}

// BinaryRules keep the two small binaries small, and apart what reads images
// and what holds secrets.
var BinaryRules = []BinaryRule{
	{
		Package: Module + "/cmd/creel",
		Not: []string{
			Module + "/runner/engine", Module + "/runner/supervisor", Module + "/runner/seccomp",
			Module + "/runner/credential", Module + "/runner/posture", Module + "/runner/cgroup",
			Module + "/runner/rootfs", Module + "/runner/spec", Module + "/runner/network",
			Module + "/runner/server", Module + "/runner/initproto", Module + "/runner/image", Module + "/policy",
			Module + "/runner/hygiene", "github.com/zricethezav", "github.com/go-git",
			"github.com/google", "github.com/klauspost", "github.com/distribution", "github.com/docker", "github.com/moby", "github.com/seccomp", "github.com/hashicorp",
			"filippo.io", "net/http", "crypto/tls",
		},
		Reason: "it runs once per command: every package it links is initialised each time",
	},
	{
		Package: Module + "/cmd/creeld",
		Not: []string{
			Module + "/runner/image/fetch", Module + "/runner/image/unpack", "github.com/google/go-containerregistry",
			"github.com/klauspost/compress", "archive/zip", "github.com/zricethezav", "github.com/go-git",
		},
		Reason: "it has privilege and secrets: it finds images, and never reads what a registry, an archive or a workspace says",
	},
	{
		Package: Module + "/cmd/creeld",
		Not:     []string{"net/http/pprof", "runtime/pprof", "runtime/trace", "expvar"},
		Reason:  "a library must not open what shows its memory either",
	},
	{
		Package: Module + "/cmd/creel-image",
		Not: []string{
			Module + "/runner/engine", Module + "/runner/supervisor", Module + "/runner/seccomp", Module + "/runner/credential",
			Module + "/runner/server", Module + "/runner/client", Module + "/runner/initproto", "github.com/docker/docker", "github.com/seccomp",
		},
		Reason: "it reads what strangers wrote, and needs no way to the supervisor or to a sandbox",
	},
	{
		Package: Module + "/cmd/creel-check",
		Not: []string{
			Module + "/runner/engine", Module + "/runner/supervisor", Module + "/runner/seccomp", Module + "/runner/credential",
			Module + "/runner/server", Module + "/runner/initproto", "github.com/docker/docker", "github.com/seccomp", "github.com/hashicorp/vault",
		},
		Reason: "it reads what others wrote, and needs no secret and no way to a sandbox; of it one file alone asks the supervisor",
	},
	{
		Package: Module + "/cmd/creel-verify",
		Not: []string{
			Module + "/policy", Module + "/runner/engine", Module + "/runner/supervisor", Module + "/runner/seccomp", Module + "/runner/credential",
			Module + "/runner/server", Module + "/runner/initproto", Module + "/runner/image",
			"net/http", "github.com/docker/docker", "github.com/seccomp", "github.com/hashicorp",
		},
		Reason: "it runs as root and reads whatever the host holds: it decides nothing, and has no way to a credential",
	},
	{
		Package: Module + "/cmd/creel-init",
		Only:    []string{std, "golang.org/x/sys", Module + "/runner/initproto", Module + "/runner/registers", Module + "/cmd/creel-init"},
		Reason:  "it is PID 1 of a sandbox: all it links can be attacked from inside",
	},
	{
		Package: Module + "/cmd/creel-init",
		Not:     []string{"net/http", "os/user", "os/exec", "plugin", "encoding/gob"},
		Reason:  "it needs none of it, and its memory is paid for by every warm sandbox",
	},
}

// The sizes, in lines, beyond which a reader loses the thread.
const (
	MaxFile     = 400
	MaxFunction = 60
	MaxMain     = 30
)

// SizeExceptions name FILE or FILE:FUNCTION.
var SizeExceptions = []Exception{}

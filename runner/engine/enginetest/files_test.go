package enginetest

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestSandboxCannotWriteOutsideItsMounts(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, "write", "/", "/etc", "/usr", "/.creel", "/dev", "/data", "/proc", "/proc/sys")
			want := outcomes{}
			for name := range got {
				want[name] = "EROFS"
				switch what, dir, _ := strings.Cut(name, " "); {
				case dir == "/dev" && what != "setxattr": // writable only by root, whom no process is
					want[name] = "EACCES|EPERM"
				case strings.HasPrefix(dir, "/proc") || dir == "/dev":
					want[name] = "EROFS|EACCES|EPERM|ENOENT|EXDEV|EOPNOTSUPP"
				}
			}
			got.expect(t, policy, want)
			// The controls: where it may, it can; and as the same user outside
			// the directory that is read-only inside is writable.
			s.inside(policy, "write", "/workspace").expect(t, "workspace", s.control(testrig.User, "write", "/workspace").all("ok", nil))
		}
		s.control(testrig.User, "write", s.data).expect(t, "outside", s.control(testrig.User, "write", s.data).all("ok", nil))

		got := s.inside(filtered, "opens", "/etc/passwd", "/usr/bin/env", "/.creel/init", "/data/probe", "/workspace/own")
		got.expect(t, "files", got.all("EROFS|EACCES", outcomes{"/workspace/own": "ENOENT", "/data/probe": "EROFS|EACCES|ETXTBSY"}))
		s.write(s.Workspace+"/own", "")
		s.own(s.Workspace + "/own")
		s.inside(filtered, "opens", "/workspace/own").expect(t, "own file", outcomes{"/workspace/own": "ok"})
	})
}

func TestSandboxCannotRemount(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		// The control has a mount namespace of its own, as root.
		cmd := exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$1" "$1" && exec "$1/probe" mounts "$1"`, "sh", s.outside)
		control := s.Run(cmd)
		if control.Code != 0 {
			t.Fatalf("control: %s", control.Stderr)
		}
		for _, policy := range []string{filtered, unfiltered} {
			for _, dir := range []string{"/data", "/", "/usr", "/proc/sys"} {
				got := s.inside(policy, "mounts", dir)
				got.expect(t, policy+" "+dir, got.all("EPERM", nil))
				parse(t, control.Stdout).differs(t, got)
			}
		}
	})
}

// ways are spellings of one path of a sandbox, or of the host.
func ways(workspace, path string) []string {
	up := strings.Repeat("../", 20)
	rest := strings.TrimPrefix(path, "/")
	return []string{
		path, workspace + "/" + up + rest, up + rest, workspace + "/link-" + filepath.Base(path),
		workspace + "/up/" + rest, "/proc/self/root" + path, "/proc/thread-self/root" + path,
		"/proc/self/cwd/" + up + rest, "/proc/self/root/" + up + rest,
	}
}

// links puts links into the workspace that a way goes through.
func (s *site) links(paths ...string) {
	for _, path := range paths {
		s.check(os.Symlink(path, s.Workspace+"/link-"+filepath.Base(path)))
	}
	s.check(os.Symlink(strings.Repeat("../", 20), s.Workspace+"/up"))
}

func TestSandboxCannotReadUndeclaredHostFiles(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		secret, open := s.outside+"/secret", s.outside+"/open"
		s.write(secret, canary)
		s.check(os.Chmod(secret, 0o600))
		s.write(open, canary)
		s.links(secret, open, "/workspace/inside")
		s.write(s.Workspace+"/inside", "inside")

		paths := append(ways("/workspace", secret), ways("/workspace", open)...)
		for _, path := range []string{secret, open} {
			for _, magic := range []string{"/proc/1/root", "/proc/1/cwd", "/proc/self/fd/0/../..", "/proc/self/fd/1/../..", "/dev/fd/2/../.."} {
				paths = append(paths, magic+path)
			}
		}
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, append([]string{"read"}, paths...)...)
			got.expect(t, policy, got.all("ENOENT|EACCES|ENOTDIR", nil))
		}
		// Each way works for what a sandbox may see, and outside for these.
		own := s.inside(filtered, append([]string{"read"}, ways("/workspace", "/workspace/inside")...)...)
		own.expect(t, "own file", own.all("ok", nil))
		for uid, path := range map[uint32]string{0: secret, testrig.User: open} {
			control := s.control(uid, append([]string{"read"}, ways(s.Workspace, path)...)...)
			control.expect(t, "outside", control.all("ok", nil))
		}
		denied := s.control(testrig.User, "read", secret)
		denied.expect(t, "0600 outside", outcomes{secret: "EACCES"})
	})
}

func TestSandboxCannotOpenHostFilesByHandle(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		s.write(s.outside+"/open", canary)
		handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, s.outside+"/open", 0)
		s.check(err)
		args := []string{"handle", fmt.Sprint(handle.Type()), hex.EncodeToString(handle.Bytes())}
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, append(args, "/", "/usr", "/workspace", "/data")...)
			got.expect(t, policy, got.all("EPERM", nil))
		}
		s.control(0, append(args, s.Workspace)...).expect(t, "outside", outcomes{"by handle on " + s.Workspace: "ok"})
	})
}

func TestSandboxFindsNothingOfTheHost(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		s.write(s.outside+"/"+canary, canary)
		s.write(s.Workspace+"/"+canary, "")
		s.write(s.Workspace+"/inside", "This is "+canary)
		got := s.inside(filtered, "find", canary, "/")
		got.expect(t, "inside", outcomes{"name": "/workspace/" + canary, "content": "/workspace/inside", "end": "ok"})
		s.control(0, "find", canary, s.outside).expect(t, "outside", outcomes{
			"name": s.outside + "/" + canary, "content": s.outside + "/" + canary, "end": "ok",
		})
	})
}

func TestSetuidFileGainsNothing(t *testing.T) {
	user := fmt.Sprint(testrig.User)
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		s.copyFile(probe(t), s.Workspace+"/setuid", 0o6755) // of root and its group
		s.copyFile(probe(t), s.Workspace+"/capable", 0o755)
		// VFS_CAP_REVISION_2 with the effective bit and CAP_DAC_OVERRIDE (capabilities(7)).
		s.check(unix.Setxattr(s.Workspace+"/capable", "security.capability", []byte{1, 0, 0, 2, 2, 19: 0}, 0))
		want := outcomes{"euid": user, "egid": user, "capabilities": strings.Repeat("0", 16), "become root": "EPERM|EINVAL"}
		for _, policy := range []string{filtered, unfiltered} {
			for _, file := range []string{"setuid", "capable"} {
				direct := s.Creel("exec", "--policy", policy, "--", "/workspace/"+file, "ids")
				shell := s.Creel("exec", "--policy", policy, "--", "sh", "-c", "/workspace/"+file+" ids")
				if s.Target.Docker() && file == "capable" {
					// Without nosuid the kernel looks at its capabilities, and refuses to
					// start what cannot have them (capabilities(7), capability-dumb binaries).
					if direct.Code != 126 || shell.Code != 126 {
						t.Errorf("%s: %+v, %+v", policy, direct, shell)
					}
					continue
				}
				parse(t, direct.Stdout).expect(t, policy+" "+file, want)
				parse(t, shell.Stdout).expect(t, policy+" sh "+file, want)
			}
		}
		s.outsideGains(t)
	})
}

// outsideGains is the control: the same files outside, as the same user.
func (s *site) outsideGains(t *testing.T) {
	for file, want := range map[string]outcomes{
		"setuid":  {"euid": "0", "egid": "0", "become root": "ok"},
		"capable": {"euid": fmt.Sprint(testrig.User), "egid": fmt.Sprint(testrig.User), "capabilities": "0000000000000002", "become root": "EPERM"},
	} {
		s.check(os.Rename(s.Workspace+"/"+file, s.outside+"/probe"))
		got := s.control(testrig.User, "ids")
		if file == "setuid" {
			delete(got, "capabilities") // those of root, whichever this machine has
		}
		got.expect(t, "outside: "+file, want)
	}
}

func TestSandboxCannotMakeOrOpenDevices(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		// /dev/zero, for everyone, by other names and as a block device's.
		s.check(unix.Mknod(s.Workspace+"/zero", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))))
		s.check(os.Chmod(s.Workspace+"/zero", 0o666))
		// And one that a sandbox has by no name.
		s.check(unix.Mknod(s.Workspace+"/kmsg", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 11))))
		s.check(os.Chmod(s.Workspace+"/kmsg", 0o666))
		zero := "EACCES"
		if s.Target.Docker() {
			zero = "ok" // there is no nodev, and the control group allows what is in /dev
		}
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, "nodes", "/workspace", "/tmp", "/dev/shm", "/workspace/zero", "/workspace/kmsg", "/dev/zero")
			got.expect(t, policy, got.all("EPERM", outcomes{
				"fifo in /workspace": "ok", "fifo in /tmp": "ok", "fifo in /dev/shm": "ok", "/dev/zero": "ok",
				"/workspace/zero": zero, "/workspace/kmsg": "EACCES|EPERM",
			}))
		}
		control := s.control(0, "nodes", s.outside, s.Workspace+"/zero", s.Workspace+"/kmsg")
		// The log says EINVAL to a read that is too small for a line.
		control.expect(t, "outside", control.all("ok", outcomes{s.Workspace + "/kmsg": "ok|EINVAL"}))
		s.control(testrig.User, "nodes", s.Workspace+"/zero").expect(t, "outside", outcomes{s.Workspace + "/zero": "ok"})
	})
}

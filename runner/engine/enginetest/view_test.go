package enginetest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// Kinds of what is found at a path. The user namespace has no name for the
// host's root, so what belongs to it belongs to nobody.
const (
	hostDir  = "drwxr-xr-x 65534:65534"
	hostFile = "-rw-r--r-- 65534:65534"
	ownDir   = "drwxr-xr-x 0:0" // of the sandbox's root, which no process is
	openDir  = "dtrwxrwxrwx 0:0"
)

var userDir = fmt.Sprintf("drwxr-xr-x %d:%d", testrig.User, testrig.User)

// identity is everything but files that a command is given.
func identity(env outcomes) outcomes {
	user, none, core := fmt.Sprint(testrig.User), strings.Repeat("0", 16), "1 1"
	four := strings.TrimSpace(strings.Repeat(user+" ", 4))
	want := outcomes{
		"umask": "0022", "hostname": "sandbox", "groups": "[] ok", "controlling terminal": "ENXIO", "cwd": "/workspace",
		"limit Max core file size": core, "limit Max open files": "1024 1024", "limit Max locked memory": "65536 65536",
		"limit Max msgqueue size": "65536 65536", "limit Max nice priority": "0 0", "limit Max pending signals": "256 256", "limit Max realtime priority": "0 0",
		"limit Max file size": "unlimited unlimited",
		"fd 0":                "pipe", "fd 1": "pipe", "fd 2": "pipe",
		"status PPid": "1", "status Uid": four, "status Gid": four, "status Groups": "",
		"status CapInh": none, "status CapPrm": none, "status CapEff": none, "status CapBnd": none, "status CapAmb": none,
		"status NoNewPrivs": "1", "status Seccomp": "2", "status Seccomp_filters": "2",
		"status SigBlk": none, "status SigIgn": none, "status ShdPnd": none, "status CoreDumping": "0",
	}
	for name, value := range env {
		want["env "+name] = value
	}
	return want
}

// machine are the outcomes that this machine decides, and nobody promises.
var machine = []string{
	"limit Max cpu time", "limit Max data size", "limit Max stack size", "limit Max resident set", "limit Max processes",
	"limit Max address space", "limit Max file locks", "limit Max realtime timeout",
	"status Pid", "status NSsid", "status NSpgid", "status Cpus_allowed", "argv",
}

// devices are all there is in /dev. crun adds the link core.
func devices(runtime string) outcomes {
	node := func(mode, number string) string { return "Dcrw-rw-rw- " + mode + " " + number }
	want := outcomes{
		"/dev": ownDir, "/dev/fd": "-> /proc/self/fd", "/dev/stdin": "-> /proc/self/fd/0", "/dev/stdout": "-> /proc/self/fd/1",
		"/dev/stderr": "-> /proc/self/fd/2", "/dev/ptmx": "-> pts/ptmx", "/dev/pts": ownDir, "/dev/pts/ptmx": node("0:0", "5,2"),
		"/dev/shm":  openDir,
		"/dev/null": node("65534:65534", "1,3"), "/dev/zero": node("65534:65534", "1,5"), "/dev/full": node("65534:65534", "1,7"),
		"/dev/random": node("65534:65534", "1,8"), "/dev/urandom": node("65534:65534", "1,9"), "/dev/tty": node("65534:65534", "5,0"),
	}
	if runtime == "crun" {
		want["/dev/core"] = "-> /proc/kcore"
	}
	return want
}

// hostRoot are all entries of / and /etc with a root that is the host's.
func hostRoot(t *testing.T) outcomes {
	t.Helper()
	want := outcomes{
		"/": hostDir, "/.creel": hostDir, "/.creel/init": "-rwxr-xr-x 65534:65534", "/usr": hostDir, "/etc": hostDir, "/tmp": openDir,
		"/proc": "dr-xr-xr-x 65534:65534", "/workspace": userDir, "/data": userDir,
		"/etc/passwd": hostFile, "/etc/group": hostFile, "/etc/hosts": hostFile, "/etc/resolv.conf": hostFile, "/etc/nsswitch.conf": hostFile,
		"/etc/ssl": hostDir,
	}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if link, err := os.Readlink(dir); err == nil {
			want[dir] = "-> " + link
		} else if _, err := os.Stat(dir); err == nil {
			want[dir] = hostDir
		}
	}
	for path, kind := range map[string]string{"/etc/ld.so.cache": hostFile, "/etc/localtime": hostFile, "/etc/alternatives": hostDir} {
		if _, err := os.Stat(path); err == nil {
			want[path] = kind
		}
	}
	return want
}

// mountsOf are all mounts of a sandbox: flags and file system, of which the
// latter is the host's business for a declared mount.
func mountsOf(runtime, root string, more outcomes) outcomes {
	want := outcomes{
		"/": "ro,nosuid,nodev,relatime " + root, "/proc": "rw,nosuid,nodev,noexec,relatime proc",
		"/dev": "rw,nosuid,noexec tmpfs", "/dev/pts": "rw,nosuid,noexec,relatime devpts",
		"/dev/shm": "rw,nosuid,nodev,noexec,relatime tmpfs", "/tmp": "rw,nosuid,nodev,relatime tmpfs",
		"/workspace": "rw,nosuid,nodev", "/data": "ro,nosuid,nodev", "/.creel/init": "ro,nosuid,nodev",
	}
	for _, name := range []string{"null", "zero", "full", "tty", "random", "urandom"} {
		want["/dev/"+name] = "rw"
	}
	for _, name := range []string{"acpi", "asound", "cmdline", "interrupts", "kallsyms", "kcore", "keys", "key-users", "kmsg", "latency_stats",
		"modules", "pressure", "sched_debug", "scsi", "sysrq-trigger", "timer_list", "timer_stats"} {
		want["/proc/"+name] = "ro"
	}
	for _, name := range []string{"bus", "fs", "irq", "sys"} {
		want["/proc/"+name] = "ro"
	}
	for path := range want {
		if info, err := os.Stat(path); strings.HasPrefix(path, "/proc/") && err != nil {
			delete(want, path) // this kernel has no such file
		} else if want[path] == "ro" && !info.IsDir() && runtime == "runc" {
			want[path] = "rw" // /dev/null, where what is written is lost
		}
	}
	maps.Copy(want, more)
	return want
}

// asDockerMakesIt changes what is expected to what Docker does otherwise.
func asDockerMakesIt(who, files, mounts outcomes) {
	user := fmt.Sprint(testrig.User)
	who["groups"], who["status Groups"] = "["+user+"] ok", user
	for path, kind := range files { // without a user namespace root has its name
		files[path] = strings.ReplaceAll(kind, "65534:65534", "0:0")
	}
	const empty, file = "-rwxr-xr-x 0:0", "-rw-r--r-- 0:0"
	maps.Copy(files, outcomes{
		"/.dockerenv": empty, "/etc/resolv.conf": empty, "/etc/hostname": file, "/etc/hosts": file, "/etc/mtab": "-> /proc/mounts",
		"/.creel/control": "EACCES", "/sys": ownDir, "/dev/mqueue": "dr-xr-xr-x 0:0",
	})
	for path, flags := range mounts {
		if device, isDevice := strings.CutPrefix(path, "/dev/"); isDevice && device != "pts" && device != "shm" {
			delete(mounts, path) // a node of its own
		} else if path != "/proc" && path != "/tmp" && path != "/dev/pts" && path != "/dev/shm" {
			mounts[path], _, _ = strings.Cut(flags, ",")
		}
	}
	for _, path := range []string{"/.creel/control", "/etc/hostname", "/etc/hosts", "/sys", "/sys/fs/cgroup", "/dev/mqueue"} {
		mounts[path] = "ro"
	}
	for path := range mounts {
		if info, err := os.Stat(path); strings.HasPrefix(path, "/proc/") && err == nil && !info.IsDir() {
			mounts[path] = "rw" // /dev/null, where what is written is lost
		}
	}
}

// without removes what the machine decides.
func (o outcomes) without(names []string) outcomes {
	for _, name := range names {
		delete(o, name)
	}
	return o
}

// entries gives the listed paths alone, and the rest alone.
func (o outcomes) entries() (files, rest outcomes) {
	files, rest = outcomes{}, outcomes{}
	for name, value := range o {
		if path, ok := strings.CutPrefix(name, "entry "); ok {
			files[path] = value
		} else {
			rest[name] = value
		}
	}
	return files, rest
}

// trim cuts what only the host decides off the flags of the mounts that come
// from it.
func (o outcomes) trim(want outcomes) outcomes {
	for name, value := range o {
		if strings.HasPrefix(value, want[name]+",") || strings.HasPrefix(value, want[name]+" ") {
			o[name] = want[name]
		}
	}
	return o
}

var viewed = []string{"view", "/", "/dev/...", "/etc", "/tmp/...", "/.creel/..."}

func TestSandboxSeesItsDeclaredSurroundingsOnly(t *testing.T) {
	on(t, ofHost, map[string]string{"env": "env: {LANG: C.UTF-8, FIXED: \"a b\"}"}, func(t *testing.T, s *site) {
		env := outcomes{"HOME": "/tmp", "LOGNAME": "sandbox", "USER": "sandbox", "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "FIXED": "a b"}
		files, rest := s.inside("env", viewed...).entries()
		who, want, mounts := identity(env), hostRoot(t), mountsOf(s.Target.Maker, "tmpfs", outcomes{"/usr": "ro,nosuid,nodev"})
		maps.Copy(want, devices(s.Target.Maker))
		if s.Target.Docker() {
			asDockerMakesIt(who, want, mounts)
		}
		rest.without(machine).expect(t, "identity", who)
		files.expect(t, "files", want)
		s.inside("env", "mountinfo").trim(mounts).expect(t, "mounts", mounts)
		if r := s.Exec("ls", "/proc"); strings.Contains("\n"+r.Stdout, "\nself\n") {
			for name := range strings.Lines(r.Stdout) {
				if pid := strings.TrimSpace(name); pid[0] >= '0' && pid[0] <= '9' && len(pid) > 2 {
					t.Errorf("process %s is seen", pid)
				}
			}
		}
		// The control: outside the same probe sees another world.
		outside, rest := s.control(testrig.User, "view", "/", "/etc").entries()
		for _, path := range []string{"/root", "/etc/shadow"} {
			if outside[path] == "" {
				t.Errorf("control: %s is not seen outside", path)
			}
		}
		if rest["status Seccomp_filters"] != "0" || rest["status CapBnd"] == strings.Repeat("0", 16) {
			t.Errorf("control: %v", rest)
		}
	})
}

func TestDirectoryRootIsSeenAndLeftAsItWas(t *testing.T) {
	on(t, ofHost, nil, func(t *testing.T, s *site) { // which is replaced
		root := s.Dir + "/root"
		s.check(os.MkdirAll(root+"/bin", 0o755))
		s.check(os.Mkdir(root+"/etc", 0o755))
		s.copyFile("/bin/busybox", root+"/bin/busybox", 0o755)
		s.check(os.Symlink("busybox", root+"/bin/sh"))
		s.write(root+"/etc/made", "by the operator")
		if s.Target.Docker() { // which mounts these two
			s.write(root+"/etc/hostname", "")
			s.write(root+"/etc/hosts", "")
		}
		before := tree(t, root)
		s.declare("directory", "root: {dir: "+root+"}")
		s.Reload()

		s.seesDirectory(t)
		r := s.Creel("exec", "--policy", "directory", "--", "sh", "-c", "echo x >/bin/new; echo x >/etc/made; rm /etc/made; echo x >/workspace/new; echo $?; cat /etc/made")
		if r.Stdout != "0\nby the operator" {
			t.Errorf("writes to a directory root: %+v", r)
		}
		if after := tree(t, root); after != before {
			t.Errorf("the operator's directory was changed:\n%s\nbefore:\n%s", after, before)
		}
	})
}

// seesDirectory holds the view of a sandbox against the directory made above.
func (s *site) seesDirectory(t *testing.T) {
	t.Helper()
	files, rest := s.inside("directory", append(viewed, "/bin")...).entries()
	who := identity(outcomes{"HOME": "/tmp", "LOGNAME": "sandbox", "USER": "sandbox", "PATH": "/usr/local/bin:/usr/bin:/bin"})
	want := outcomes{
		"/": hostDir, "/bin": hostDir, "/bin/busybox": "-rwxr-xr-x 65534:65534", "/bin/sh": "-> busybox", "/etc": hostDir, "/etc/made": hostFile, "/etc/hosts": hostFile, "/etc/resolv.conf": hostFile,
		"/.creel": hostDir, "/.creel/init": "-rwxr-xr-x 65534:65534", "/tmp": openDir, "/proc": "dr-xr-xr-x 65534:65534", "/workspace": userDir, "/data": userDir,
	}
	maps.Copy(want, devices(s.Target.Maker))
	mounts := mountsOf(s.Target.Maker, "overlay", nil)
	if s.Target.Docker() {
		asDockerMakesIt(who, want, mounts)
		mounts["/bin"], mounts["/etc"] = "ro", "ro"
		delete(want, "/etc/resolv.conf") // the directory is not the daemon's to add to
		delete(want, "/etc/mtab")
	}
	rest.without(machine).expect(t, "identity", who)
	files.expect(t, "files", want)
	s.inside("directory", "mountinfo").trim(mounts).expect(t, "mounts", mounts)
}

// tree describes everything below a directory.
func tree(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%P %M %U:%G %s %T@ %l\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

package policy

import (
	"strings"
	"testing"
)

// boundary is a line of a policy that is just accepted and one that is just
// refused: each refusal has its positive control.
type boundary struct{ good, bad, key string }

func TestEveryBoundaryIsWhereItIsSaid(t *testing.T) {
	sha := "sha256:" + strings.Repeat("0a", 32)
	tests := []boundary{
		{"name: a", "name: -a", "name"},
		{"name: " + strings.Repeat("a", 63), "name: " + strings.Repeat("a", 64), "name"},
		{"name: '2027'", "name: 2027", "name"},
		{"owner: a", "owner: ' '", "owner"},
		{"owner: " + strings.Repeat("é", 254), "owner: " + strings.Repeat("é", 255), "owner"},
		{"justification: a\\b", "justification: \"a\\0b\"", "justification"},
		{"reviewBy: 2028-02-29", "reviewBy: 2027-02-29", "reviewBy"},
		{"root: {image: 'localhost:5000/a/b:1'}", "root: {image: 'localhost:5000/a/b'}", "root.image"},
		{"root: {image: 'a@" + sha + "'}", "root: {image: 'a@" + sha + "0'}", "root.image"},
		{"root: {dir: /srv/rootfs}", "root: {dir: /srv/rootfs/}", "root.dir"},
		{"root: {dir: /var/lib/machines/x}", "root: {dir: /var/lib/docker/x}", "root.dir"},
		{"root: {host: true}", "root: {host: 'true'}", "root.host"},
		{"user: rooty", "user: root", "user"},
		{"user: 1:1", "user: 0:1", "user"},
		{"user: 65534:4294967294", "user: 65535:1000", "user"},
		{"user: " + strings.Repeat("a", 31), "user: " + strings.Repeat("a", 32), "user"},
		{"workdir: /procfs", "workdir: /proc", "workdir"},
		{"tmp: {size: 64KiB}", "tmp: {size: 63KiB}", "tmp.size"},
		{"tmp: {size: 65536}", "tmp: {size: 65535}", "tmp.size"},
		{"tmp: {inodes: 16}", "tmp: {inodes: 15}", "tmp.inodes"},
		{"env: {A: yes}", "env: {A: true}", "env.A"},
		{"env: {LDX: x}", "env: {LD_X: x}", "env.LD_X"},
		{"env: {ENVIRONMENT: x}", "env: {ENV: x}", "env.ENV"},
		{"env: {PYTHONPATH: x}", "env: {PYTHONHOME: x}", "env.PYTHONHOME"},
		{"env: {_: ''}", "env: {'': ''}", `env[""]`},
		{"env: {A: " + strings.Repeat("x", 32<<10) + "}", "env: {A: " + strings.Repeat("x", 32<<10+1) + "}", "env.A"},
		{"network: {gateway: 127.0.0.1:1024}", "network: {gateway: 127.0.0.1:1023}", "network.gateway"},
		{"network: {gateway: 127.255.255.254:65535}", "network: {gateway: 128.0.0.1:65535}", "network.gateway"},
		{"network: {gateway: 127.0.0.1:65535}", "network: {gateway: 127.0.0.1:65536}", "network.gateway"},
		{"network: {gateway: 127.0.0.1:2000, maxConnections: 4096}", "network: {gateway: 127.0.0.1:2000, maxConnections: 4097}", "network.maxConnections"},
		{"seccomp: default", "seccomp: Default", "seccomp"},
		{"seccomp: /x.json", "seccomp: /x/../x.json", "seccomp"},
		{"userNamespace: off", "userNamespace: 'false'", "userNamespace"},
		{"limits: {memory: 16MiB}", "limits: {memory: 16383KiB}", "limits.memory"},
		{"limits: {memory: 16TiB}", "limits: {memory: 17TiB}", "limits.memory"},
		{"limits: {cpus: 0.01}", "limits: {cpus: 0.009}", "limits.cpus"},
		{"limits: {cpus: 1024}", "limits: {cpus: 1024.001}", "limits.cpus"},
		{"limits: {pids: 16}", "limits: {pids: 15}", "limits.pids"},
		{"limits: {nofile: 1048576}", "limits: {nofile: 1048577}", "limits.nofile"},
		{"limits: {fileSize: unlimited}", "limits: {fileSize: none}", "limits.fileSize"},
		{"limits: {timeout: 10ms}", "limits: {timeout: 9ms}", "limits.timeout"},
		{"limits: {timeout: 720h}", "limits: {timeout: 720h1ms}", "limits.timeout"},
		{"limits: {timeout: 1h30m}", "limits: {timeout: 30m1h}", "limits.timeout"},
		{"limits: {timeout: unlimited}", "limits: {timeout: ''}", "limits.timeout"},
		{"limits: {output: 1KiB}", "limits: {output: 1023}", "limits.output"},
		{"logs: {keep: 16MiB}", "logs: {keep: 16777217}", "logs.keep"},
		{"logs: {keep: 0}", "logs: {keep: -0}", "logs.keep"},
		{"pool: {warm: 64}", "pool: {warm: 65}", "pool.warm"},
		{"callers: {users: [1000]}", "callers: {users: [01000]}", "callers.users[0]"},
		{"callers: {users: [a, b]}", "callers: {users: [a, a]}", "callers.users[1]"},
	}
	for _, test := range tests {
		t.Run(test.bad[:min(len(test.bad), 60)], func(t *testing.T) { checkBoundary(t, test) })
	}
}

func TestMountAndCredentialBoundaries(t *testing.T) {
	mount := func(source, target string) string {
		return "mounts: [{kind: data, source: " + source + ", target: " + target + "}]"
	}
	credential := func(from string) string { return "credentials: [{env: A, from: '" + from + "'}]" }
	long := strings.Repeat("a", 255)
	tests := []boundary{
		{mount("/etcetera", "/x"), mount("/etc", "/x"), "mounts[0].source"},
		{mount("/home/a", "/x"), mount("/home", "/x"), "mounts[0].source"},
		{mount("/tmp/a", "/x"), mount("/tmp", "/x"), "mounts[0].source"},
		{mount("/var/lib/openclaw", "/x"), mount("/var/lib", "/x"), "mounts[0].source"},
		{mount("/var/log/openclaw", "/x"), mount("/var/log", "/x"), "mounts[0].source"},
		{mount("/srv/ssh", "/x"), mount("/srv/.ssh", "/x"), "mounts[0].source"},
		{mount("/srv/sock", "/x"), mount("/srv/x.sock", "/x"), "mounts[0].source"},
		{mount("/srv/..a", "/x"), mount("/srv/..", "/x"), "mounts[0].source"},
		{mount("/srv/a", "/"+long), mount("/srv/a", "/"+long+"a"), "mounts[0].target"},
		{mount("/srv/a", "/library"), mount("/srv/a", "/lib/rary"), "mounts[0].target"},
		{mount("/srv/a", "/creel"), mount("/srv/a", "/.creel"), "mounts[0].target"},
		{mount("/srv/a", "/x"), mount("/srv/a", "/"), "mounts[0].target"},
		{credential("systemd:a-b.c"), credential("systemd:a/b"), "credentials[0].from"},
		{credential("exec:/opt/x -a b"), credential("exec:opt/x -a b"), "credentials[0].from"},
		{credential("exec:/tmpx/y"), credential("exec:/tmp/y"), "credentials[0].from"},
		{credential("vault:a/b.c#d"), credential("vault:a/..#d"), "credentials[0].from"},
		{credential("vault:a#d"), credential("vault:a#d#e"), "credentials[0].from"},
		{credential("vault:a#d', ttl: '1s"), credential("vault:a#d', ttl: '999ms"), "credentials[0].ttl"},
		{credential("vault:a#d', ttl: '1s"), credential("systemd:a', ttl: '1s"), "credentials[0].ttl"},
	}
	for _, test := range tests {
		t.Run(test.bad[:min(len(test.bad), 60)], func(t *testing.T) { checkBoundary(t, test) })
	}
}

func checkBoundary(t *testing.T, test boundary) {
	mustParse(t, with(test.good))
	p, problems := Parse("test.yaml", []byte(with(test.bad)))
	if p != nil || len(problems) != 1 {
		t.Fatalf("%s: want one problem, got %d:\n%s", test.bad, len(problems), lines(problems))
	}
	if got := problems[0]; got.Key != test.key || got.Line == 0 || got.Column == 0 || got.Hint == "" || got.Severity != SeverityError {
		t.Errorf("want an error about %s with its place and a hint, got %#v", test.key, got)
	}
}

// Every guarded place is refused as it is, from below and from above, and
// its neighbour with the same beginning is not.
func TestGuardedSourcesAreRefusedFromEverySide(t *testing.T) {
	for _, g := range guardedSources {
		for up := g.dir; ; up = up[:strings.LastIndex(up, "/")] {
			if dangerousSource("/"+strings.TrimPrefix(up, "/")) == nil {
				t.Errorf("%s, which is or contains %s, was accepted", up, g.dir)
			}
			if up == "" {
				break
			}
		}
		if refused := dangerousSource(g.dir+"/child") != nil; refused == g.alone {
			t.Errorf("a child of %s: refused %v, want %v", g.dir, refused, !g.alone)
		}
		if f := dangerousSource(g.dir + "xyz"); f != nil && strings.Count(g.dir, "/") == 1 {
			t.Errorf("%sxyz was refused: %s", g.dir, f.message)
		}
	}
}

func TestReservedTargetsAreRefusedWithTheirChildren(t *testing.T) {
	for _, dir := range reservedTargets {
		if reservedTarget(dir) == nil || reservedTarget(dir+"/child") == nil {
			t.Errorf("%s or a child of it was accepted", dir)
		}
		if f := reservedTarget(dir + "xyz"); f != nil {
			t.Errorf("%sxyz was refused: %s", dir, f.message)
		}
	}
}

func TestRefusedVariablesAreRefusedForCallersToo(t *testing.T) {
	for _, refused := range refusedEnv {
		name := strings.Replace(refused.name, "*", "X", 1)
		if err := CheckEnvName(name); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, name := range []string{"PATH", "HOME", "LANG", "TERM", "GITHUB_TOKEN", "PYTHONPATH", "_", "a1"} {
		if err := CheckEnvName(name); err != nil {
			t.Errorf("%s was refused: %v", name, err)
		}
	}
}

// A secret that was pasted where a reference belongs must not be printed by
// the check that refuses it.
func TestMisplacedSecretIsNotRepeated(t *testing.T) {
	for _, from := range []string{"hunter2secret", "ghp:hunter2secret", "vault:hunter2secret", "systemd:hunter2/secret", "exec:hunter2secret"} {
		_, problems := Parse("test.yaml", []byte(with("credentials: [{env: A, from: '"+from+"'}]")))
		if len(problems) != 1 || strings.Contains(lines(problems), "hunter2") {
			t.Errorf("%s: %s", from, lines(problems))
		}
	}
}

package vault

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// postgres starts a PostgreSQL server of the test's own, which knows one user,
// admin, and gives its port.
func postgres(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Skip("PostgreSQL is not installed: apt-get install postgresql")
	}
	bin := filepath.Dir(found[len(found)-1])
	nobody, err := user.Lookup("nobody") // PostgreSQL refuses to run as root
	check(t, err)
	uid, err := strconv.Atoi(nobody.Uid)
	check(t, err)
	dir, err := os.MkdirTemp("/tmp", "creel-pg-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.Chown(dir, uid, uid))
	check(t, os.WriteFile(dir+"/password", []byte("admin-password"), 0o644))
	as := func(argv ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, argv[0]), argv[1:]...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}, Pdeathsig: syscall.SIGKILL}
		return cmd
	}
	if out, err := as("initdb", "--no-sync", "-D", dir+"/data", "-U", "admin", "--auth=scram-sha-256", "--pwfile="+dir+"/password").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	port := strconv.Itoa(free.Addr().(*net.TCPAddr).Port)
	check(t, free.Close())
	server := as("postgres", "-D", dir+"/data", "-p", port, "-k", dir, "-h", "127.0.0.1", "-F")
	check(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // at once, but in order (postgres(1))
		_ = server.Wait()
	})
	deadline := time.Now().Add(60 * time.Second)
	for query(port, "admin", "admin-password", "SELECT 1") != nil {
		if time.Now().After(deadline) {
			t.Fatal("PostgreSQL does not answer")
		}
		time.Sleep(50 * time.Millisecond)
	}
	return port
}

// query logs in to PostgreSQL.
func query(port, name, password, sql string) error {
	cmd := exec.Command("psql", "-h", "127.0.0.1", "-p", port, "-U", name, "-d", "postgres", "-c", sql)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "PGCONNECT_TIMEOUT=5")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// database has a server's database engine make users of PostgreSQL, and a rig
// whose policy "reader" gives each command one, and PostgreSQL as its gateway.
func database(t *testing.T) (r *testrig.Rig, port string) {
	t.Helper()
	port = postgres(t)
	s := Start(t, Options{})
	s.Do("POST", "sys/mounts/database", map[string]any{"type": "database"})
	s.Do("POST", "database/config/pg", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "reader", "username": "admin", "password": "admin-password",
		"connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:" + port + "/postgres",
	})
	s.Do("POST", "database/roles/reader", map[string]any{
		"db_name": "pg", "default_ttl": "1h", "max_ttl": "2h",
		"creation_statements": []string{`CREATE ROLE "{{name}}" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`},
	})
	lines := fmt.Sprintf("network: {gateway: 127.0.0.1:%s}\ncredentials:\n", port) +
		"  - {env: PGUSER, from: 'vault:database/creds/reader#username', ttl: 5m}\n" +
		"  - {env: PGPASSWORD, from: 'vault:database/creds/reader#password', ttl: 5m}\n"
	r = rig(t, s, lines)
	r.WritePolicy("short", r.PolicyText("short", strings.ReplaceAll(lines, "5m", "6s")))
	r.Reload()
	return r, port
}

// session is a command that has logged in to the database, as who and with what.
type session struct {
	client         *exec.Cmd
	name, password string
}

// logIn starts a command that logs in to the database through its gateway, and
// goes on until it is ended.
func logIn(t *testing.T, r *testrig.Rig, port string, flags ...string) session {
	t.Helper()
	_ = os.Remove(r.Workspace + "/enough")
	client := r.Command(slices.Concat([]string{"exec"}, flags, []string{"--", "bash", "-c", `printf '%s\n' "$PGUSER" "$PGPASSWORD" >/workspace/login
psql -h 127.0.0.1 -p "$1" -d postgres -Atc "SELECT 'lo' || 'gged in'" >/workspace/said 2>&1; mv /workspace/said /workspace/answer
while [ ! -e /workspace/enough ]; do sleep 0.05; done`, "psql", port})...)
	check(t, client.Start())
	r.Eventually("the command has logged in", func() bool { _, err := os.Stat(r.Workspace + "/answer"); return err == nil })
	answer, err := os.ReadFile(r.Workspace + "/answer")
	check(t, err)
	check(t, os.Remove(r.Workspace+"/answer"))
	if string(answer) != "logged in\n" {
		t.Fatalf("in the sandbox the database said %q", answer)
	}
	data, err := os.ReadFile(r.Workspace + "/login")
	check(t, err)
	login := strings.Fields(string(data))
	return session{client, login[0], login[1]}
}

// TestDatabaseLoginLivesAsLongAsItsCommand has Vault's database engine make a
// user of PostgreSQL for one command, which logs in through its gateway.
func TestDatabaseLoginLivesAsLongAsItsCommand(t *testing.T) {
	r, port := database(t)
	for name, c := range map[string]struct {
		flags []string
		end   func(client *exec.Cmd)
	}{
		"exit":        {end: func(*exec.Cmd) { check(t, os.WriteFile(r.Workspace+"/enough", nil, 0o644)) }},
		"time limit":  {flags: []string{"--timeout", "6s"}, end: func(*exec.Cmd) {}},
		"lease over":  {flags: []string{"--policy", "short"}, end: func(*exec.Cmd) {}},
		"killed":      {end: func(*exec.Cmd) { r.Creel("kill", "--all") }},
		"caller gone": {end: func(client *exec.Cmd) { check(t, client.Process.Kill()) }},
		"creeld stopped": {end: func(*exec.Cmd) {
			r.StopSupervisor()
			r.StartSupervisor()
		}},
		"creeld killed": {end: func(*exec.Cmd) { r.KillSupervisor(); r.StartSupervisor() }},
	} {
		t.Run(name, func(t *testing.T) {
			user := logIn(t, r, port, c.flags...)
			if err := query(port, user.name, user.password, "SELECT 1"); err != nil {
				t.Fatalf("control: the login does not work while the command runs: %v", err)
			}
			c.end(user.client)
			_ = user.client.Wait()
			began := time.Now()
			r.Eventually("the login is refused", func() bool { return query(port, user.name, user.password, "SELECT 1") != nil })
			if took := time.Since(began); took > time.Second {
				t.Errorf("it was accepted for %v", took)
			}
			if err := query(port, "admin", "admin-password", "SELECT 1"); err != nil {
				t.Errorf("control: %v", err)
			}
		})
	}
}

// TestCommandThatDoesNotStartLeavesNoUserInTheDatabase counts its users.
func TestCommandThatDoesNotStartLeavesNoUserInTheDatabase(t *testing.T) {
	r, port := database(t)
	// Dividing by the count fails where there is none.
	exist := func() bool {
		return query(port, "admin", "admin-password", "SELECT 1/count(*) FROM pg_roles WHERE rolname LIKE 'v-%'") == nil
	}
	user := logIn(t, r, port)
	if !exist() {
		t.Fatal("control: the user of a command that runs is not found")
	}
	check(t, user.client.Process.Kill())
	_ = user.client.Wait()
	r.Eventually("no user is left", func() bool { return !exist() })
	if got := r.Exec("/no/such/command"); got.Code != 127 {
		t.Errorf("ended with %d: %s", got.Code, got.Stderr)
	}
	r.Eventually("no user is left by a command that does not start", func() bool { return !exist() })
	if err := query(port, "admin", "admin-password", "SELECT 1"); err != nil {
		t.Errorf("control: %v", err)
	}
}

package leak

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/integration/vault"
	"github.com/creel-sandbox/creel/runner/api"
)

// tells is a command that says its values to its gateway, so to this test's
// memory, prints them, and goes on until it is ended.
const tells = `exec 3<>"/dev/tcp/127.0.0.1/$1"; printf '%s\n%s\n' "$KEPT" "$TOKEN" >&3; echo "$KEPT $TOKEN"; sleep 1000`

// redacted is what a caller sees of it, but for the line's end, which is held
// back where it could be part of an encoded value.
const redacted = "[redacted:KEPT] [redacted:TOKEN]"

// TestNoByteOfALeasedCredentialReachesADisk has a real vault keep one value and
// make another, which waits for its command; the book of leases is on the disk
// that is searched.
func TestNoByteOfALeasedCredentialReachesADisk(t *testing.T) {
	r, gateway := startVault(t)
	kept, first := r.begins(t, gateway)
	if names, err := os.ReadDir(r.Dir + "/state/leases"); err != nil || len(names) == 0 {
		t.Errorf("control: the book of leases has %d entries, %v", len(names), err)
	}
	r.operator(t, "inspect", r.only(t).ID)
	r.operator(t, "doctor")
	coreTellsNothing(t, "creeld, which talks to the vault", r.Pid(), kept, first)
	r.absent(t, "while it runs", kept, first)
	r.operator(t, "kill", r.only(t).ID)
	r.absent(t, "when it was killed", kept, first)

	_, second := r.begins(t, gateway)
	r.KillSupervisor()
	r.StartSupervisor()
	r.absent(t, "when creeld was killed", kept, first, second)
	r.StopSupervisor()
	r.absent(t, "when creeld has stopped", kept, first, second)
	for what, c := range map[string]canary{"the value that is kept": kept, "the token": first} {
		writeAndDelete(t, string(c))
		if len(c.onDisk(t)) == 0 {
			t.Errorf("the search is blind to %s: it was written and deleted", what)
		}
	}
}

// startVault starts a vault, a supervisor that logs in to it, and a gateway
// that commands talk to.
func startVault(t *testing.T) (*rig, *net.TCPListener) {
	t.Helper()
	s := vault.Start(t, vault.Options{Program: fmt.Sprintf("/proc/%d/fd/4", os.Getpid())})
	s.Tokens("task")
	s.Do("POST", "kv/data/there", map[string]any{"data": map[string]any{"value": newCanary().value("kept")}})
	check(t, os.MkdirAll(credentialsDir, 0o700))
	check(t, os.RemoveAll(credentialsDir+"/vault"))
	check(t, os.WriteFile(credentialsDir+"/vault", []byte(s.Role("creeld", vault.Policy)), 0o400))
	gateway, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(t, err)
	t.Cleanup(func() { _ = gateway.Close() })
	r := start(t, testrig.Options{Config: fmt.Sprintf("vault: {address: %q}\n", s.Address)})
	r.WritePolicy("vault", r.PolicyText("vault", fmt.Sprintf("pool: {warm: 1}\nlogs: {keep: 64KiB}\nnetwork: {gateway: %s}\ncredentials:\n", gateway.Addr())+
		"  - {env: KEPT, from: 'vault:kv/there#value'}\n"+
		"  - {env: TOKEN, from: 'vault:auth/token/create/task#token', ttl: 10m, prefetch: true}\n"))
	r.Reload()
	return r, gateway
}

// begins starts a command with a token that has waited for it, and learns both
// its values.
func (r *rig) begins(t *testing.T, gateway *net.TCPListener) (kept, token canary) {
	t.Helper()
	r.Eventually("a token waits", func() bool { return strings.Contains(r.Creel("ps").Stdout, "1 live") })
	_, port, _ := net.SplitHostPort(gateway.Addr().String())
	cmd := r.Command("exec", "--policy", "vault", "--", "bash", "-c", tells, "bash", port)
	var out strings.Builder
	cmd.Stdout = &out
	check(t, cmd.Start())
	t.Cleanup(func() { ended(t, cmd, &out) })
	for kept == "" {
		connection, err := gateway.AcceptTCP()
		check(t, err)
		lines := bufio.NewScanner(connection)
		if lines.Scan() { // creeld's own probe says nothing
			kept = canary(lines.Text())
			lines.Scan()
			token = canary(lines.Text())
		}
		_ = connection.Close()
	}
	if !strings.HasPrefix(string(token), "hvs.") {
		t.Fatalf("the command has no token")
	}
	id := r.only(t).ID
	r.Eventually("what it printed is kept", func() bool { return strings.TrimSpace(r.operator(t, "logs", id)) == redacted })
	return kept, token
}

// ended wants what a command printed to have been redacted.
func ended(t *testing.T, cmd *exec.Cmd, out *strings.Builder) {
	t.Helper()
	_ = cmd.Wait() // it was killed
	if strings.TrimSpace(out.String()) != redacted {
		t.Errorf("it printed %d bytes, want %q", out.Len(), redacted)
	}
}

// only is the one command there is, or is about to be.
func (r *rig) only(t *testing.T) (found api.Sandbox) {
	t.Helper()
	r.Eventually("a command runs", func() bool {
		for _, row := range r.list(t) {
			if row.State == "running" {
				found = row
			}
		}
		return found.ID != ""
	})
	return found
}

// absent fails if the disk holds one of the values.
func (r *rig) absent(t *testing.T, when string, values ...canary) {
	t.Helper()
	for _, value := range values {
		if found := value.onDisk(t); len(found) > 0 {
			t.Errorf("%s, the disk holds a credential:\n%s", when, strings.Join(found, "\n"))
		}
	}
}

// TestSandboxThatWaitsHoldsNoneOfWhatWaitsForIt keeps a copy of the memory of a
// sandbox of the pool, and looks for the token that was made for it by then,
// once a command has it.
func TestSandboxThatWaitsHoldsNoneOfWhatWaitsForIt(t *testing.T) {
	r, gateway := startVault(t)
	var waiting int
	r.Eventually("a token waits with a sandbox", func() bool {
		for _, row := range r.list(t) {
			if row.State == "warm" && len(row.Leases) == 1 {
				waiting = row.Pid
			}
		}
		return waiting != 0
	})
	before := memories(t, waiting)
	_, token := r.begins(t, gateway)
	if pid := r.only(t).Pid; pid != waiting {
		t.Fatalf("control: the command runs in the sandbox of process %d, not of %d, which waited", pid, waiting)
	}
	if found := token.in(memories(t, waiting)); len(found) == 0 {
		t.Error("control: the token is not found in the memory of the command that has it: the search is blind")
	}
	if found := token.in(before); len(found) > 0 {
		t.Errorf("while it waited, the sandbox held the token: %v", found)
	}
	r.operator(t, "kill", r.only(t).ID)
}

// memories are those of an init and of all processes in its sandbox.
func memories(t *testing.T, init int) []byte {
	t.Helper()
	all := memory(t, init)
	for _, pid := range sandboxed(t, init) {
		all = append(all, memory(t, pid)...)
	}
	return all
}

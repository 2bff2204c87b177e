package leak

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// stored takes the same values as the other policies, from creel's own store.
const stored = `credentials:
  - {env: EXEC_TOKEN, from: "store:one"}
  - {env: SYSTEMD_TOKEN, from: "store:two"}
logs: {keep: 64KiB}`

// TestNoByteOfAStoredSecretReachesADisk has secrets set, rotated, refused, used
// and removed, with the store's file on the disk that is searched; and looks
// for them in what gcore writes of a supervisor that has just handled them.
func TestNoByteOfAStoredSecretReachesADisk(t *testing.T) {
	r := start(t, testrig.Options{})
	key, err := exec.Command(*binaries+"/creeld", "--new-secrets-key").Output()
	check(t, err)
	check(t, os.RemoveAll(credentialsDir+"/secrets"))
	check(t, os.WriteFile(credentialsDir+"/secrets", key, 0o400))
	r.WritePolicy("stored", r.PolicyText("stored", stored))
	r.Reload()

	r.keeps(t, 0, "set", "one", credentialsDir+"/token")
	r.keeps(t, 0, "rotate", "one", vaultDir+"/value")
	r.keeps(t, 125, "rotate", "one", vaultDir+"/value")
	r.keeps(t, 125, "set", "one", credentialsDir+"/token")
	r.keeps(t, 0, "set", "two", credentialsDir+"/token")
	file, err := os.ReadFile(r.Dir + "/state/secrets/secrets.age")
	check(t, err)
	if !bytes.HasPrefix(file, []byte("age-encryption.org/v1\n")) {
		t.Error("control: the store is not where it is searched for")
	}
	secretKey := canary(key[20:60])
	r.dumped(t, "secrets were set", secretKey)

	got := r.runs(t, 0, `echo "$EXEC_TOKEN $SYSTEMD_TOKEN"`, "--policy", "stored")
	if want := "[redacted:EXEC_TOKEN] [redacted:SYSTEMD_TOKEN]\n"; got.Stdout != want {
		t.Errorf("stdout %q, want %q", got.Stdout, want)
	}
	r.dumped(t, "a command had them", secretKey)
	b := r.begin(t, `sleep 1000`, "--policy", "stored")
	r.KillSupervisor()
	b.ends(t, 125)
	r.StartSupervisor()
	r.operator(t, "secret", "ls")
	r.operator(t, "doctor")
	r.operator(t, "secret", "rm", "one", "two")
	r.StopSupervisor()
	r.searched(t)
	if found := secretKey.onDisk(t); len(found) > 0 {
		t.Errorf("the disk holds the key of the store:\n%s", strings.Join(found, "\n"))
	}
	writeAndDelete(t, string(key)+string(r.canary))
	if len(secretKey.onDisk(t)) == 0 || len(r.canary.onDisk(t)) == 0 {
		t.Error("the search is blind: the key and a value were written and deleted")
	}
}

// keeps gives a value in memory to creel secret.
func (r *rig) keeps(t *testing.T, code int, verb, name, from string) {
	t.Helper()
	value, err := os.ReadFile(from)
	check(t, err)
	cmd := r.Command("secret", verb, name)
	cmd.Stdin = bytes.NewReader(value) // through a pipe
	got := r.Run(cmd)
	if got.Code != code {
		t.Errorf("secret %s %s: exit code %d, want %d: %s", verb, name, got.Code, code, got.Stderr)
	}
	r.canary.absent(t, "what creel secret printed", got.Stdout+got.Stderr)
}

// dumped fails if a dump of the supervisor holds a value or the key, or its
// memory a value. The key is in memory of libraries that nobody wipes.
func (r *rig) dumped(t *testing.T, when string, key canary) {
	t.Helper()
	core := dump(t, r.Pid())
	if len(core) < 1024 {
		t.Errorf("control: the core has %d bytes", len(core))
	}
	if found, part := r.canary.in(core), r.canary.inPart(core); len(found) > 0 || part != "" {
		t.Errorf("when %s, the core of creeld holds it: %v %s", when, found, part)
	}
	if found := key.in(core); len(found) > 0 {
		t.Errorf("when %s, the core of creeld holds the key: %v", when, found)
	}
	all := memory(t, r.Pid())
	if !bytes.Contains(all, []byte("store:one")) {
		t.Error("control: the memory of creeld does not hold its policies")
	}
	if found := r.canary.in(all); len(found) > 0 {
		t.Errorf("when %s, the memory of creeld holds it: %v", when, found)
	}
}

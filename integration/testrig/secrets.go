package testrig

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SecretsKey makes the key file of a store of secrets as README says, in a
// directory of the test's own that is root's and on no disk.
func SecretsKey(t testing.TB) (file string) {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "creel-secrets-test-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	file = dir + "/secrets.key"
	if out, err := exec.Command("sh", "-c", `umask 077; "$0" --new-secrets-key >"$1"`, filepath.Join(Binaries(t), "creeld"), file).CombinedOutput(); err != nil {
		t.Fatalf("make key: %v\n%s", err, out)
	}
	return file
}

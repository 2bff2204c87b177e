package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const fullConfig = `runtimeDir: /srv/creel/run
policyDir: /srv/creel/policies
auditDir: /srv/creel/audit
imageDir: /srv/creel/images
engine: oci
runtime: crun
dockerSocket: /run/other/docker.sock
strict: true
admins: [ops, 1000]
group: sandboxers
initPath: /opt/creel/creel-init
stateDir: /srv/creel/state
tokenSocket: {group: creel-token}
vault:
  address: https://vault.example.org:8200
  caFile: /etc/creel/vault-ca.pem
  namespace: team/production
  credential: vault-secret-id
  roleID: 5e6a4dd6-0000-4000-8000-3f1c5e8b7a21
  login: creel
  timeout: 2s
secrets:
  dir: /srv/creel/secrets
  key: {file: /etc/creel/secrets.key}
`

func TestConfigIsReadInFull(t *testing.T) {
	got, problems := ParseConfig("creel.yaml", []byte(fullConfig))
	want := &Config{
		RuntimeDir: "/srv/creel/run", PolicyDir: "/srv/creel/policies", AuditDir: "/srv/creel/audit", ImageDir: "/srv/creel/images",
		Engine: "oci", Runtime: "crun", DockerSocket: "/run/other/docker.sock", InitPath: "/opt/creel/creel-init", Strict: true,
		Admins: []string{"ops", "1000"}, Group: "sandboxers",
		StateDir: "/srv/creel/state", TokenSocket: &TokenSocket{Group: "creel-token"},
		Vault: &Vault{Address: "https://vault.example.org:8200", CAFile: "/etc/creel/vault-ca.pem", Namespace: "team/production",
			Credential: "vault-secret-id", RoleID: "5e6a4dd6-0000-4000-8000-3f1c5e8b7a21", Login: "creel", Timeout: 2 * time.Second},
		Secrets: Secrets{Dir: "/srv/creel/secrets", Key: SecretsKey{File: "/etc/creel/secrets.key"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s(-want +got):\n%s", lines(problems), diff)
	}
}

func TestEmptyConfigMeansTheDefaults(t *testing.T) {
	want := &Config{
		RuntimeDir: "/run/creel", PolicyDir: "/etc/creel/policies", AuditDir: "/var/log/creel", ImageDir: "/var/lib/creel/images",
		Engine: "oci", DockerSocket: "/run/docker.sock", InitPath: "/usr/lib/creel/creel-init", Group: "creel",
		StateDir: "/var/lib/creel", Secrets: Secrets{Key: SecretsKey{Credential: "secrets"}},
	}
	for _, text := range []string{"", "# nothing\n", "---\n", "{}\n"} {
		got, problems := ParseConfig("creel.yaml", []byte(text))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s(-want +got):\n%s", text, lines(problems), diff)
		}
	}
	if diff := cmp.Diff(want, DefaultConfig()); diff != "" {
		t.Errorf("DefaultConfig (-want +got):\n%s", diff)
	}
}

func TestBadConfigIsRefusedWithEveryProblem(t *testing.T) {
	const bad = `runtimeDir: run
policydir: /x
auditDir: /proc/audit
engine: docker-in-docker
runtime: runsc
strict: yes
admins: [ops, ops]
group: "a b"
initPath: /
strict: false
stateDir: /dev/shm
vault: {address: "http://vault.example.org", credential: "a:b", login: "../sys", timeout: 1h, token: hvs.x}
tokenSocket: {group: "a b", everyone: true}
secrets: {dir: /proc/secrets, key: {file: /etc/creel/secrets.key, credential: secrets}}
`
	c, problems := ParseConfig("creel.yaml", []byte(bad))
	if c != nil {
		t.Fatal("the file was accepted")
	}
	golden(t, "testdata/config.problems", lines(problems))
}

func TestVaultIsReachedInTheClearOnTheLoopbackOnly(t *testing.T) {
	for address, good := range map[string]bool{
		"https://vault": true, "https://10.0.0.1:8200": true, "https://[2001:db8::1]:8200": true,
		"http://127.0.0.1:8200": true, "http://localhost": true, "http://[::1]:8200": true,
		"http://10.0.0.1:8200": false, "http://localhost.example.org": false, "http://[2001:db8::1]": false, "http://127.0.0.1.example.org": false,
		"https://user:pass@vault": false, "https://vault/v1": false, "https://vault?a=b": false, "vault:8200": false, "unix:///run/x": false,
	} {
		_, problems := ParseConfig("creel.yaml", []byte("vault: {address: '"+address+"'}"))
		if got := len(problems) == 0; got != good {
			t.Errorf("%s: accepted: %v\n%s", address, got, lines(problems))
		}
	}
}

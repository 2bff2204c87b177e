package policy

import (
	"testing"

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
`

func TestConfigIsReadInFull(t *testing.T) {
	got, problems := ParseConfig("creel.yaml", []byte(fullConfig))
	want := &Config{
		RuntimeDir: "/srv/creel/run", PolicyDir: "/srv/creel/policies", AuditDir: "/srv/creel/audit", ImageDir: "/srv/creel/images",
		Engine: "oci", Runtime: "crun", DockerSocket: "/run/other/docker.sock", InitPath: "/opt/creel/creel-init", Strict: true,
		Admins: []string{"ops", "1000"}, Group: "sandboxers",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s(-want +got):\n%s", lines(problems), diff)
	}
}

func TestEmptyConfigMeansTheDefaults(t *testing.T) {
	want := &Config{
		RuntimeDir: "/run/creel", PolicyDir: "/etc/creel/policies", AuditDir: "/var/log/creel", ImageDir: "/var/lib/creel/images",
		Engine: "oci", DockerSocket: "/run/docker.sock", InitPath: "/usr/lib/creel/creel-init", Group: "creel",
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
`
	c, problems := ParseConfig("creel.yaml", []byte(bad))
	if c != nil {
		t.Fatal("the file was accepted")
	}
	golden(t, "testdata/config.problems", lines(problems))
}

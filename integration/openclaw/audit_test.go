package openclaw

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// answered finds the warnings that README answers.
var answered = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\|")

// TestAuditOfTheConfigurationFindsNothingCritical runs OpenClaw's own audit of
// what is shipped.
func TestAuditOfTheConfigurationFindsNothingCritical(t *testing.T) {
	s := start(t)
	readme := readme(t)
	known := map[string]bool{}
	for _, match := range answered.FindAllStringSubmatch(readme, -1) {
		known[match[1]] = true
	}
	claw := New(t, Options{Dir: s.Dir + "/audited", UID: testrig.User, GID: testrig.User, Token: s.claw.Token,
		Config: s.onHost(s.Dir + "/audited/data/openclaw.log")})
	out, err := claw.Run("security", "audit", "--json")
	check(t, err)
	var report struct {
		Summary  struct{ Critical, Info int }
		Findings []struct{ CheckID, Severity, Title, Detail string }
	}
	check(t, json.Unmarshal([]byte(out), &report))
	if report.Summary.Critical > 0 || report.Summary.Info == 0 {
		t.Errorf("the audit says %+v", report.Summary)
	}
	for _, finding := range report.Findings {
		if finding.Severity == "critical" || finding.Severity == "warn" && !known[finding.CheckID] {
			t.Errorf("%+v", finding)
		}
	}
}

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Here(), "../../README.md"))
	check(t, err)
	return string(data)
}

// TestReadmePrintsTheConfigurationThatIsTested also wants the version of
// OpenClaw there that this was tested with.
func TestReadmePrintsTheConfigurationThatIsTested(t *testing.T) {
	shipped, err := os.ReadFile(filepath.Join(Here(), "openclaw.json"))
	check(t, err)
	if !strings.Contains(readme(t), "```json\n"+string(shipped)+"```") {
		t.Error("README.md does not print openclaw.json")
	}
	var pinned struct{ Dependencies map[string]string }
	data, err := os.ReadFile(filepath.Join(Here(), "npm/package.json"))
	check(t, err)
	check(t, json.Unmarshal(data, &pinned))
	if version := pinned.Dependencies["openclaw"]; version == "" || !strings.Contains(readme(t), "OpenClaw "+version) {
		t.Errorf("README.md does not name OpenClaw %s", version)
	}
}

package openclaw

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// answered finds the warnings that README answers.
var answered = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)`(?:,[^|]*)? \\|")

// TestAuditOfTheConfigurationFindsNothingCritical runs OpenClaw's own audit of
// what is shipped, and of that with a channel that is open to everybody.
func TestAuditOfTheConfigurationFindsNothingCritical(t *testing.T) {
	s := prepare(t)
	_, section, found := strings.Cut(readme(t), "\n`openclaw security audit` finds nothing critical")
	section, _, ends := strings.Cut(section, "\n## ")
	if !found || !ends {
		t.Fatal("README has no section on the audit")
	}
	known := map[string]bool{}
	for _, match := range answered.FindAllStringSubmatch(section, -1) {
		known[match[1]] = true
	}
	met := map[string]bool{}
	for name, over := range map[string]map[string]any{
		"shipped": {},
		"open": {
			"channels": map[string]any{"telegram": bot()},
			"plugins":  map[string]any{"allow": []any{"creel", "telegram"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := s.Dir + "/audited-" + name
			config := s.onHost(dir + "/data/openclaw.log")
			lay(config, over)
			claw := New(t, Options{Dir: dir, UID: testrig.User, GID: testrig.User, Token: s.claw.Token, Config: config,
				Secrets: []string{"BOT_TOKEN=" + string(s.canaries["bot-token"])}})
			for _, warning := range audit(t, claw) {
				met[warning] = true
			}
		})
	}
	if !maps.Equal(met, known) {
		t.Errorf("the audit warns of %v, and README answers %v", met, known)
	}
}

// audit gives the names of an audit's warnings. None is critical.
func audit(t *testing.T, claw *OpenClaw) (warnings []string) {
	t.Helper()
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
		switch finding.Severity {
		case "critical":
			t.Errorf("%+v", finding)
		case "warn":
			warnings = append(warnings, finding.CheckID)
		}
	}
	return warnings
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

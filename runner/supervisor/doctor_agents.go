package supervisor

import (
	"fmt"

	"github.com/creel-sandbox/creel/runner/api"
)

// agentFindings tell of each agent how it is.
func (s *Supervisor) agentFindings() []api.Finding {
	var findings []api.Finding
	for _, a := range s.agents.rows() {
		finding := api.Finding{Name: "agent " + a.Name, Level: levelOK, Detail: a.State}
		if a.Restarts > 0 {
			finding.Detail += fmt.Sprintf(", started again %d times", a.Restarts)
		}
		if a.Problem != "" {
			finding.Detail += ": " + a.Problem
		}
		switch {
		case a.State == api.AgentDown:
			finding.Level, finding.Hint = levelError, "mend what ends it, which creel ps and creel logs "+a.Name+" tell of, and creel agent start "+a.Name
		case a.State == api.AgentUnhealthy, a.State == api.AgentBackOff, a.Problem != "" && a.State == api.AgentStopped:
			finding.Level = levelWarning
		}
		findings = append(findings, finding)
	}
	return findings
}

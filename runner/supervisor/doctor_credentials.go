package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
)

// examineTimeout bounds how long the doctor waits for all providers together.
const examineTimeout = 10 * time.Second

var noteLevels = map[credential.Level]string{credential.Fine: levelOK, credential.Warning: levelWarning, credential.Failing: levelError}

// credentialFindings tell of the providers, and of what the policies name of
// them, as far as that can be known without having a value made.
func (s *Supervisor) credentialFindings(ctx context.Context) []api.Finding {
	declared := s.declared.Load()
	var credentials []policy.Credential
	for _, p := range declared.Policies.All() {
		credentials = append(credentials, p.Credentials...)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, examineTimeout, fmt.Errorf("no answer within %s", examineTimeout))
	defer cancel()
	var findings []api.Finding
	for _, note := range s.cfg.Credentials.Examine(ctx, credentials) {
		findings = append(findings, api.Finding{Name: note.About, Level: noteLevels[note.Level], Detail: note.Found, Hint: note.Hint})
	}
	return findings
}

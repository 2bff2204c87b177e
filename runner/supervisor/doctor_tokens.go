package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
)

// tokenNotice is how long before its end a token is warned of.
const tokenNotice = 14 * 24 * time.Hour

// tokenFindings are the doctor's lines of API tokens: none, where nothing is
// said of any.
func (s *Supervisor) tokenFindings() []api.Finding {
	named := s.namedTokens()
	if s.cfg.Tokens == nil {
		if len(named) == 0 {
			return nil
		}
		return []api.Finding{{Name: "tokens", Level: levelWarning, Detail: "policies name " + strings.Join(named, ", ") + " in callers.tokens, and creel.yaml has no tokenSocket",
			Hint: errNoTokens.Hint}}
	}
	var findings []api.Finding
	warn := func(hint, format string, args ...any) {
		findings = append(findings, api.Finding{Name: "tokens", Level: levelWarning, Detail: fmt.Sprintf(format, args...), Hint: hint})
	}
	infos := s.cfg.Tokens.List()
	for _, info := range infos {
		rotate := "creel token rotate " + info.Name + ", or creel token revoke " + info.Name
		switch row := s.tokenRow(info, api.TokenOK); {
		case info.Expired:
			warn(rotate, "token %s is over, since %s", info.Name, info.Expires.Format(time.DateOnly))
		case time.Until(info.Expires) < tokenNotice:
			warn(rotate, "token %s ends on %s", info.Name, info.Expires.Format(time.DateOnly))
		case len(row.Refused) > 0:
			warn("add the token to callers.tokens of the policy, or make one without it", "token %s is for %s, which does not name it", info.Name, strings.Join(row.Refused, ", "))
		}
		named = slices.DeleteFunc(named, func(name string) bool { return name == info.Name })
	}
	for _, name := range named {
		warn("creel token create --policy POLICY "+name+", or take it out of callers.tokens", "there is no token %s, which a policy names", name)
	}
	if len(findings) == 0 {
		return []api.Finding{{Name: "tokens", Level: levelOK, Detail: fmt.Sprintf("%d, none over or about to be", len(infos))}}
	}
	return findings
}

// namedTokens are those that policies in force name.
func (s *Supervisor) namedTokens() []string {
	var names []string
	policies := s.declared.Load().Policies
	for _, p := range policies.All() {
		names = append(names, p.Callers.Tokens...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

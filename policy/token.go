package policy

import "fmt"

// TokenSocket says who may connect to the socket for callers with a token;
// exactly one of the two is set.
type TokenSocket struct {
	Group    string // a group's name or decimal id
	Everyone bool
}

var tokenSocketFields = choice(func() []field[TokenSocket] {
	return []field[TokenSocket]{
		optional("group", sparse[string]{groupOrID, nothing}, "", func(s *TokenSocket) *string { return &s.Group },
			"The group that may connect, by its name or its decimal id."),
		optional("everyone", sparse[bool]{onlyTrue, nothing}, false, func(s *TokenSocket) *bool { return &s.Everyone },
			"Lets every user of the host connect, and show a token there."),
	}
})

// groupOrID is a group of the host, or the id of one that has no name here,
// such as a container's.
var groupOrID = scalar[string]{
	what:    "a group name or a decimal group id",
	tags:    []string{"!!str", "!!int"},
	pattern: callerText,
	hint:    "such as creel-token or 100000",
	parse: func(text string) (string, *fault) {
		if !userName.MatchString(text) && !validID(text) {
			return "", faultf("choose an id from 0 to 4294967294, but not 65535", "%s is not a usable group id", text)
		}
		return text, nil
	},
	format: show[string],
	shape: schema{AnyOf: []*schema{
		{Type: "string", Pattern: callerText.String()},
		{Type: "integer", Minimum: "0", Maximum: "4294967294"},
	}},
}

// tokenNames are those of the integrations that have a token: as of policies,
// since ps shows both.
var tokenNames = func() scalar[string] {
	s := policyName
	s.hint = "such as ci-runner, as creel token ls lists it"
	return s
}()

// CheckTokenName says why no token can have this name.
func CheckTokenName(name string) error {
	if !tokenNames.pattern.MatchString(name) {
		return fmt.Errorf("%.80q is no name of a token: %s", name, tokenNames.what)
	}
	return nil
}

// CheckPolicyName says why no policy can have this name.
func CheckPolicyName(name string) error {
	if !policyName.pattern.MatchString(name) {
		return fmt.Errorf("%.80q is no name of a policy: %s", name, policyName.what)
	}
	return nil
}

// CheckOrigin says why no policy can list this sender or channel.
func CheckOrigin(text string) error {
	if _, f := origin.parseText(text); f != nil {
		return fmt.Errorf("%s: %s", f.message, f.hint)
	}
	return nil
}

// callersAreSomebody wants a user or a token: a policy that nobody may run is a
// mistake. Of a file that could not be read as one, that is known already.
func callersAreSomebody(p *Policy, report func(string, *fault)) {
	if p.Kind == KindPolicy && len(p.Callers.Users) == 0 && len(p.Callers.Tokens) == 0 {
		report("callers", faultf("name users, or tokens of integrations", "nobody may run the policy"))
	}
}

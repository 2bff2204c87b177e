package policy

import "testing"

func TestTokenSocketIsAGroupsOrEveryones(t *testing.T) {
	for text, want := range map[string]TokenSocket{
		"{group: creel-token}": {Group: "creel-token"}, "{group: 100000}": {Group: "100000"}, "{group: \"0\"}": {Group: "0"}, "{everyone: true}": {Everyone: true},
	} {
		c, problems := ParseConfig("creel.yaml", []byte("tokenSocket: "+text))
		if c == nil || c.TokenSocket == nil || *c.TokenSocket != want {
			t.Errorf("%s: %s", text, lines(problems))
		}
	}
	for _, text := range []string{"{}", "null", "true", "{everyone: false}", "{group: \"\"}", "{group: a b}", "{group: 65535}", "{group: -1}", "{group: x, everyone: true}", "{mode: 0666}"} {
		if c, _ := ParseConfig("creel.yaml", []byte("tokenSocket: "+text)); c != nil {
			t.Errorf("%s was accepted as %+v", text, c.TokenSocket)
		}
	}
	if c := DefaultConfig(); c.TokenSocket != nil {
		t.Errorf("by default there is a socket: %+v", c.TokenSocket)
	}
}

func TestNamesOfTokensAndWhomTheyAreForAreChecked(t *testing.T) {
	for _, c := range []struct {
		check func(string) error
		text  string
		good  bool
	}{
		{CheckTokenName, "ci-runner", true}, {CheckTokenName, "7", true}, {CheckTokenName, "", false}, {CheckTokenName, "Ci", false}, {CheckTokenName, "a/b", false},
		{CheckTokenName, "a:b", false}, {CheckTokenName, "-a", false}, {CheckTokenName, "ci\n", false},
		{CheckPolicyName, "exec-default", true}, {CheckPolicyName, "*", false}, {CheckPolicyName, "", false},
		{CheckOrigin, "telegram:1", true}, {CheckOrigin, "telegram:*", false}, {CheckOrigin, "nobody", false}, {CheckOrigin, "", false},
	} {
		if err := c.check(c.text); (err == nil) != c.good {
			t.Errorf("%q: %v", c.text, err)
		}
	}
}

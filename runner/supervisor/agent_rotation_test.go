package supervisor

import (
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
)

// That a policy names another credential is no rotation: the life of before is
// not compared with it, nor sent the signal of one, while it ends.
func TestAnotherCredentialOfAnotherPolicyIsNoRotation(t *testing.T) {
	secrets, _ := secretStore(t, 0)
	check(t, secrets.Set("one", credential.NewSecret([]byte("the value of one"))))
	check(t, secrets.Set("two", credential.NewSecret([]byte("the value of two"))))
	r := newRig(t, options{secrets: secrets})
	r.BeginAgents()
	agent := func(from string) map[string]string {
		return helper(`trap "echo hup >>ran" HUP; trap "while ! rm end; do sleep 0.02; done; exit 0" TERM; echo up >>ran; while :; do sleep 0.02; done`,
			"stop: {grace: 60s}", "onRotation: SIGHUP", `credentials: [{env: TOKEN, from: "store:`+from+`"}]`)
	}
	rotated := func() int { return strings.Count(r.log.String(), "a credential of an agent was rotated") }
	r.reload(agent("one"))
	r.eventually("it runs", func() bool { return len(r.written()) == 1 })
	r.helperIs(api.AgentRunning) // or its launch is called off, and not its end awaited
	r.reload(agent("two"))
	r.helperIs(api.AgentStopping)
	r.lookForRotations(t.Context())
	r.touch("end")
	r.eventually("it runs with the other", func() bool { return len(r.written()) == 2 && r.helperIs(api.AgentRunning).Restarts == 1 })
	if n := rotated(); n != 0 {
		t.Errorf("%d rotations are told of; it wrote %q", n, r.written())
	}
	check(t, secrets.Rotate("two", credential.NewSecret([]byte("another value of two"))))
	r.lookForRotations(t.Context())
	r.eventually("control: a rotation is told of", func() bool { return strings.Join(r.written(), " ") == "up up hup" })
	if n := rotated(); n != 1 {
		t.Errorf("control: %d rotations are told of", n)
	}
	r.touch("end")
}

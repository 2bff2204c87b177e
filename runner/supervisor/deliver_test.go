package supervisor

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/locked"
)

func TestCredentialsOfAJobAreInLockedMemoryUntilTheyAreSent(t *testing.T) {
	before := locked.InUse()
	secrets := []credential.Resolved{{Env: "TOKEN", Secret: credential.NewSecret([]byte("secret-value"))},
		{Env: "OTHER", Secret: credential.NewSecret([]byte("other-value"))}}
	all, err := newEntries(secrets)
	check(t, err)
	list := all.strings()
	if got := string(bytes.Join(list, []byte("|"))); got != "TOKEN=secret-value|OTHER=other-value" {
		t.Errorf("got %s", got)
	}
	frame, err := lockedMemory(1000)
	check(t, err)
	if got, want := locked.InUse()-before, len("secret-value"+"other-value")*2+len("TOKEN="+"OTHER=")+1000; got != want || len(frame.Bytes) != 1000 {
		t.Errorf("%d bytes of locked memory are in use, want %d", got, want)
	}
	frame.Free()
	all.free()
	credential.DestroyAll(secrets)
	if got := locked.InUse(); got != before {
		t.Errorf("%d bytes are still in use, want %d", got, before)
	}
	if joined := string(bytes.Join(list, nil)); strings.Trim(joined, "\x00") != "" {
		t.Errorf("what was freed still holds %q", joined)
	}
}

// However a command ends, what its credentials took of locked memory is free
// for the next, or else there would be none left at some time.
func TestLockedMemoryIsFreeHoweverTheCommandEnds(t *testing.T) {
	r := newRig(t, options{policy: withEverything(t), provider: staticSecret("0123456789abcdef")})
	before := locked.InUse()
	running := func() *call {
		c := r.start(shell(`printf %.9s "$TOKEN"; echo; sleep 1000`), "")
		<-c.id
		if locked.InUse() <= before {
			t.Error("control: a command that runs has no locked memory in use")
		}
		return c
	}
	for _, script := range []string{"true", `echo "$TOKEN"; exit 3`, `exec "$TOKEN"`, "kill -9 $$", "yes | head -c 3000000"} {
		r.run(script)
	}
	r.start(&api.ExecRequest{Policy: "exec-default", Argv: [][]byte{[]byte("/no/such/command")}}, "")
	running().cancel(nil)
	killed := running()
	_, err := r.Kill(t.Context(), &api.KillRequest{All: true, Signal: int(unix.SIGKILL)})
	check(t, err)
	<-killed.done
	r.eventually("all locked memory is free", func() bool { return locked.InUse() <= before })
}

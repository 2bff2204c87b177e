package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/store"
)

// secretStore is a store with a clock, which begins old ago.
func secretStore(t *testing.T, old time.Duration) (*store.Store, *time.Duration) {
	t.Helper()
	key, err := store.NewKey()
	check(t, err)
	back := &old
	return store.New(store.Config{
		Dir: t.TempDir() + "/secrets", Now: func() time.Time { return time.Now().Add(-*back) },
		Key: func() (credential.Secret, error) { return credential.NewSecret([]byte(key)), nil },
	}), back
}

// valuePipe is what a client sends: a pipe that holds text and ends.
func valuePipe(t *testing.T, text string) *os.File {
	t.Helper()
	read, write, err := os.Pipe()
	check(t, err)
	_, err = write.WriteString(text)
	check(t, err)
	check(t, write.Close())
	return read
}

const twoSecrets = `credentials: [{env: TOKEN, from: "store:token"}, {env: OTHER, from: "store:other"}]`

func TestOverdueSecretWarnsAndStrictRefusesTheRun(t *testing.T) {
	secrets, back := secretStore(t, 91*24*time.Hour)
	check(t, secrets.Set("token", credential.NewSecret([]byte("the old value"))))
	*back = 0
	check(t, secrets.Set("other", credential.NewSecret([]byte("the new value"))))
	strict := false
	r := newRig(t, options{secrets: secrets, policy: twoSecrets})
	load := r.load
	r.load = func() (*Declared, error) {
		declared, err := load()
		if err == nil {
			declared.Config.Strict = strict
		}
		return declared, err
	}
	if log := r.log.String(); !strings.Contains(log, "secret token, named by exec-default: its value is of") || strings.Contains(log, "secret other") {
		t.Errorf("the log says\n%s", log)
	}
	if got := r.run(`echo "$TOKEN $OTHER"`); got.err != nil || got.stdout.String() != "[redacted:TOKEN] [redacted:OTHER]\n" {
		t.Errorf("without strict: %v, %q", got.err, got.stdout)
	}
	strict = true
	check(t, r.Reload())
	told := asAPI(t, r.run("true").err)
	for _, word := range []string{"TOKEN", "store:token", "90 days", "creel secret rotate token"} {
		if !strings.Contains(told.Message, word) {
			t.Errorf("refused with %q, want %q there", told.Message, word)
		}
	}
	_, err := r.RotateSecret(t.Context(), "token", valuePipe(t, "the newest value\n"))
	check(t, err)
	if got := r.run(`test "$TOKEN" = "the newest value"`); got.err != nil || got.result.ExitCode != 0 {
		t.Errorf("after the rotation: %v, %+v", got.err, got.result)
	}
}

func TestSecretsAreListedWithThePoliciesThatNameThem(t *testing.T) {
	secrets, back := secretStore(t, 100*24*time.Hour)
	check(t, secrets.Set("other", credential.NewSecret([]byte("canary-value"))))
	*back = time.Hour
	check(t, secrets.Set("unused", credential.NewSecret([]byte("canary-value"))))
	*back = 0
	r := newRig(t, options{secrets: secrets, policy: twoSecrets, more: map[string]string{"exec-more": `credentials: [{env: A, from: "store:other"}]`}})
	reply, err := r.Secrets(t.Context())
	check(t, err)
	var got []string
	for _, s := range reply.Secrets {
		got = append(got, fmt.Sprintf("%s %s %d %v", s.Name, s.State, s.Age/time.Hour, s.Policies))
	}
	want := "other overdue 2400 [exec-default exec-more]; token missing 0 [exec-default]; unused ok 1 []"
	if strings.Join(got, "; ") != want {
		t.Errorf("listed %s\nwant   %s", strings.Join(got, "; "), want)
	}
	var levels []string
	for _, finding := range r.secretFindings() {
		levels = append(levels, finding.Level+" "+finding.Hint)
	}
	if got := strings.Join(levels, "; "); !strings.Contains(got, "warning creel secret set token") || !strings.Contains(got, "creel secret rotate other") || len(levels) != 2 {
		t.Errorf("the doctor says %s", got)
	}
	removed, err := r.RemoveSecrets(t.Context(), []string{"unused", "other", "other"})
	check(t, err)
	if len(removed.Secrets) != 2 || removed.Secrets[0].State != api.SecretRemoved || strings.Join(removed.Secrets[0].Policies, " ") != "exec-default exec-more" {
		t.Errorf("removed %+v", removed)
	}
	if log := r.log.String(); !strings.Contains(log, "a secret was removed") || strings.Contains(log, "canary") {
		t.Errorf("the log says\n%s", log)
	}
}

func TestRefusedSecretSaysWhatToDoAndNeverTheValue(t *testing.T) {
	secrets, _ := secretStore(t, 0)
	r := newRig(t, options{secrets: secrets})
	_, err := r.SetSecret(t.Context(), "token", valuePipe(t, "canary-value"))
	check(t, err)
	for name, test := range map[string]struct {
		err  error
		hint string
	}{
		"set again":     {second(r.SetSecret(t.Context(), "token", valuePipe(t, "canary-other"))), "creel secret rotate token"},
		"rotate none":   {second(r.RotateSecret(t.Context(), "none", valuePipe(t, "canary-other"))), "creel secret ls"},
		"rotate to it":  {second(r.RotateSecret(t.Context(), "token", valuePipe(t, "canary-value\n"))), "new value"},
		"remove none":   {second(r.RemoveSecrets(t.Context(), []string{"token", "none"})), "creel secret ls"},
		"a bad name":    {second(r.SetSecret(t.Context(), "../x", valuePipe(t, "canary-other"))), "nothing was changed"},
		"a short value": {second(r.SetSecret(t.Context(), "short", valuePipe(t, "canary\n"))), "nothing was changed"},
		"no value":      {second(r.SetSecret(t.Context(), "short", valuePipe(t, "\n"))), "nothing was changed"},
		"a NUL":         {second(r.SetSecret(t.Context(), "short", valuePipe(t, "canary\x00canary"))), "nothing was changed"},
		"blanks":        {second(r.SetSecret(t.Context(), "short", valuePipe(t, "          "))), "nothing was changed"},
	} {
		told := asAPI(t, test.err)
		if !strings.Contains(told.Hint, test.hint) || strings.Contains(told.Message+told.Hint, "canary") {
			t.Errorf("%s: %s (%s)", name, told.Message, told.Hint)
		}
	}
	reply, err := r.Secrets(t.Context())
	check(t, err)
	if len(reply.Secrets) != 1 || strings.Contains(r.log.String(), "canary") {
		t.Errorf("left: %+v; log:\n%s", reply, r.log)
	}
}

func TestValueThatDoesNotComeInTimeIsRefused(t *testing.T) {
	for _, part := range []string{"", "half of a value"} {
		read, write, err := os.Pipe()
		check(t, err)
		_, err = write.WriteString(part)
		check(t, err)
		if secret, err := readSecret(read, 0); err == nil || !strings.Contains(err.Error(), "in time") || secret.Len() > 0 {
			t.Errorf("%q was taken: %v", part, err)
		}
		if _, err := write.WriteString("x"); !errors.Is(err, unix.EPIPE) {
			t.Errorf("the pipe stayed open: %v", err)
		}
		check(t, write.Close())
	}
	if secret, err := readSecret(valuePipe(t, "a whole value"), time.Minute); err != nil || string(secret.Reveal()) != "a whole value" {
		t.Errorf("positive control: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// Both say what can be: the client, which links no credential, by api's words.
func TestClientAndProvidersAgreeOnTheLengthOfAValue(t *testing.T) {
	if api.MinSecret != credential.MinValue || api.MaxSecret != credential.MaxValue {
		t.Errorf("api has %d to %d, credential %d to %d", api.MinSecret, api.MaxSecret, credential.MinValue, credential.MaxValue)
	}
	secrets, _ := secretStore(t, 0)
	r := newRig(t, options{secrets: secrets})
	of := func(length int) *os.File {
		read, write, err := os.Pipe()
		check(t, err)
		go func() {
			_, _ = write.WriteString(strings.Repeat("x", length)) // not all of it is read
			write.Close()
		}()
		return read
	}
	_, err := r.SetSecret(t.Context(), "longest", of(api.MaxSecret))
	check(t, err)
	_, err = r.SetSecret(t.Context(), "longer", of(2*api.MaxSecret))
	if told := asAPI(t, err); !strings.Contains(told.Message, "more than 65536 bytes") {
		t.Errorf("refused with %s", told.Message)
	}
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/store"
)

// valueWait bounds how long the value of a secret may be on its way: a client
// has it before it asks.
const valueWait = 10 * time.Second

// SetSecret implements server.SecretKeeper.
func (s *Supervisor) SetSecret(ctx context.Context, name string, value *os.File) (*api.SecretsReply, error) {
	return s.keepSecret(ctx, name, value, s.cfg.Secrets.Set, "set")
}

// RotateSecret implements server.SecretKeeper.
func (s *Supervisor) RotateSecret(ctx context.Context, name string, value *os.File) (*api.SecretsReply, error) {
	return s.keepSecret(ctx, name, value, s.cfg.Secrets.Rotate, "rotated")
}

func (s *Supervisor) keepSecret(ctx context.Context, name string, value *os.File, keep func(string, credential.Secret) error, done string) (*api.SecretsReply, error) {
	secret, err := readSecret(value, valueWait)
	if err != nil {
		return nil, api.BadRequest("nothing was changed", "value of secret %.80q: %v", name, err)
	}
	defer secret.Destroy()
	if err := keep(name, secret); err != nil {
		return nil, secretProblem(err, name)
	}
	s.cfg.Log.WithField("secret", name).Infof("a secret was %s", done)
	s.lookForRotations(ctx)
	return s.secretsNamed([]string{name})
}

// readSecret reads a pipe to its end, which must come in time, and closes it.
func readSecret(value *os.File, wait time.Duration) (credential.Secret, error) {
	defer value.Close()
	fd := int(value.Fd())
	deadline := time.Now().Add(wait)
	return credential.Read(func(p []byte) (int, error) {
		for {
			ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(ready, int(max(time.Until(deadline), 0).Milliseconds()))
			if err == nil && n == 0 {
				return 0, errors.New("it did not come in time")
			}
			if err == nil {
				n, err = unix.Read(fd, p)
			}
			if err != unix.EINTR {
				return n, err
			}
		}
	})
}

const keyHint = "put back the key that the store was written with; for a new store make one: " +
	"`creeld --new-secrets-key | systemd-creds encrypt --name=secrets - /etc/creel/secrets.cred`, " +
	"and LoadCredentialEncrypted=secrets:/etc/creel/secrets.cred in creeld.service"

// secretProblem says what to do about a change of these secrets that was
// refused, or about a store that cannot be read.
func secretProblem(err error, names ...string) *api.Error {
	told := &api.Error{Code: "secret", ExitCode: api.ExitFailed, Message: err.Error()}
	if len(names) > 0 {
		told.Message = fmt.Sprintf("secret %.80s: %v", strings.Join(names, ", "), err)
	}
	switch {
	case errors.Is(err, store.ErrExists):
		told.Hint = "`creel secret rotate " + names[0] + "` gives it another value"
	case errors.Is(err, store.ErrMissing):
		told.Hint = "`creel secret ls` lists those there are; `creel secret set NAME` makes one"
	case errors.Is(err, store.ErrSame):
		told.Hint = "have a new value made where the old one came from; then the old one can be revoked there"
	case errors.Is(err, store.ErrFull):
		told.Hint = "remove those that nobody uses: `creel secret ls` says which policies name them"
	case errors.Is(err, store.ErrKey):
		told.Hint = keyHint
	default:
		told.Hint = "nothing was changed; mend what is named"
	}
	return told
}

// RemoveSecrets implements server.SecretKeeper. The reply says which policies
// go without from now on.
func (s *Supervisor) RemoveSecrets(_ context.Context, names []string) (*api.SecretsReply, error) {
	slices.Sort(names)
	names = slices.Compact(names)
	if err := s.cfg.Secrets.Remove(names...); err != nil {
		return nil, secretProblem(err, names...)
	}
	reply := &api.SecretsReply{}
	users := s.secretUsers()
	for _, name := range names {
		s.cfg.Log.WithField("secret", name).Info("a secret was removed")
		reply.Secrets = append(reply.Secrets, api.Secret{Name: name, State: api.SecretRemoved, Policies: policiesOf(users, name)})
	}
	return reply, nil
}

// Secrets implements server.SecretKeeper: those there are, and those that
// policies name and there are not.
func (s *Supervisor) Secrets(context.Context) (*api.SecretsReply, error) {
	infos, err := s.cfg.Secrets.List()
	if err != nil {
		return nil, secretProblem(err)
	}
	users := s.secretUsers()
	reply := &api.SecretsReply{Secrets: []api.Secret{}}
	there := map[string]bool{}
	for _, info := range infos {
		there[info.Name] = true
		row := api.Secret{Name: info.Name, State: api.SecretOK, Created: info.Created, Rotated: info.Rotated,
			Age: info.Age, Policies: policiesOf(users, info.Name)}
		if info.Overdue {
			row.State = api.SecretOverdue
		}
		reply.Secrets = append(reply.Secrets, row)
	}
	for name := range users {
		if !there[name] {
			reply.Secrets = append(reply.Secrets, api.Secret{Name: name, State: api.SecretMissing, Policies: users[name]})
		}
	}
	slices.SortFunc(reply.Secrets, func(a, b api.Secret) int { return strings.Compare(a.Name, b.Name) })
	return reply, nil
}

func (s *Supervisor) secretsNamed(names []string) (*api.SecretsReply, error) {
	reply, err := s.Secrets(context.Background())
	if err != nil {
		return nil, err
	}
	reply.Secrets = slices.DeleteFunc(reply.Secrets, func(one api.Secret) bool { return !slices.Contains(names, one.Name) })
	return reply, nil
}

// secretUsers are the policies in force by the secrets that they name.
func (s *Supervisor) secretUsers() map[string][]string {
	users := map[string][]string{}
	policies := s.declared.Load().Policies
	for name, p := range policies.All() {
		for _, c := range p.Credentials {
			if c.Provider == policy.ProviderStore && !slices.Contains(users[c.Reference], name) {
				users[c.Reference] = append(users[c.Reference], name)
			}
		}
	}
	return users
}

func policiesOf(users map[string][]string, name string) []string {
	return append([]string{}, users[name]...) // never null on the wire
}

// secretProblems are what an operator must see to, each with its hint.
func secretProblems(secrets []api.Secret) []api.Finding {
	var problems []api.Finding
	for _, one := range secrets {
		by := "no policy"
		if len(one.Policies) > 0 {
			by = strings.Join(one.Policies, ", ")
		}
		problem := api.Finding{Name: "secrets", Level: levelWarning}
		switch one.State {
		case api.SecretOverdue:
			problem.Detail = fmt.Sprintf("secret %s, named by %s: %s", one.Name, by, store.Info{Rotated: one.Rotated, Age: one.Age}.Told())
			problem.Hint = "have a new value made where it came from, and `creel secret rotate " + one.Name + "`; 'strict: true' refuses it as it is"
		case api.SecretMissing:
			problem.Detail = fmt.Sprintf("there is no secret %s, and %s cannot run without", one.Name, by)
			problem.Hint = "creel secret set " + one.Name
		default:
			continue
		}
		problems = append(problems, problem)
	}
	return problems
}

// reviewSecrets tells the log of them when policies come into force, and the
// store whether it is to refuse what is overdue.
func (s *Supervisor) reviewSecrets() {
	s.cfg.Secrets.SetStrict(s.declared.Load().Config.Strict)
	for _, finding := range s.secretFindings() {
		if finding.Level != levelOK {
			s.cfg.Log.WithField("hint", finding.Hint).Warn(finding.Detail)
		}
	}
}

// secretFindings are the doctor's lines of the store.
func (s *Supervisor) secretFindings() []api.Finding {
	reply, err := s.Secrets(context.Background())
	var problem *api.Error
	if errors.As(err, &problem) {
		return []api.Finding{{Name: "secrets", Level: levelError, Detail: problem.Message, Hint: problem.Hint}}
	}
	problems := secretProblems(reply.Secrets)
	if len(problems) == 0 {
		return []api.Finding{{Name: "secrets", Level: levelOK, Detail: fmt.Sprintf("%d in the store, none overdue", len(reply.Secrets))}}
	}
	return problems
}

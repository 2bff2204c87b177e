package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/creel-sandbox/creel/runner/credential"
)

// about is what the notes on the vault as a whole are called.
const about = "vault"

var _ credential.Examiner = (*Provider)(nil)

// Examine implements credential.Examiner. What is kept is read, and forgotten at
// once; of what would be made for the asking, only the right to ask is looked
// at.
func (p *Provider) Examine(ctx context.Context, references []string) []credential.Note {
	health := p.health(ctx)
	if health.Level == credential.Failing {
		return []credential.Note{health}
	}
	client, _, err := p.clientFor(ctx, 0)
	if err != nil {
		return []credential.Note{health, failing("creeld cannot log in: "+err.Error(), "see that 'credential' in creel.yaml names what systemd gives creeld, and that the vault still takes it")}
	}
	notes := append([]credential.Note{health}, p.loginNotes(ctx, client)...)
	return append(notes, p.referenceNotes(ctx, client, references)...)
}

func failing(found, hint string) credential.Note {
	return credential.Note{About: about, Level: credential.Failing, Found: found, Hint: hint}
}

// health asks what everybody may (Vault's API, /sys/health).
func (p *Provider) health(ctx context.Context) credential.Note {
	const hint = "commands of policies that name it are refused until it is back"
	at := "the vault at " + p.cfg.Address
	health, err := p.client.Sys().HealthWithContext(ctx)
	switch {
	case err != nil:
		return failing(fmt.Sprintf("%s: %v", at, explain(ctx, err)), hint)
	case !health.Initialized:
		return failing(at+" is not initialised", hint)
	case health.Sealed:
		return failing(at+" is sealed", hint)
	}
	return credential.Note{About: about, Found: at + " answers, version " + version(health.Version)}
}

// version keeps of what a server calls its version what a version is made of.
func version(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789.+-abcdefghijklmnopqrstuvwxyz", r) {
			return r
		}
		return -1
	}, text[:min(len(text), 32)])
}

// shortLife is how soon a token that nobody renews must be told of.
const shortLife = 7 * 24 * time.Hour

// loginNotes tell what creeld is to the vault.
func (p *Provider) loginNotes(ctx context.Context, client *api.Client) []credential.Note {
	secret, err := client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil || secret == nil {
		return []credential.Note{{About: about, Level: credential.Warning, Found: "creeld has logged in; what it may do the vault does not say"}}
	}
	ttl, ttlErr := secret.TokenTTL()
	policies, policiesErr := secret.TokenPolicies()
	renewable, _ := secret.TokenIsRenewable()
	own := p.ownLogin(client)
	note := credential.Note{About: about, Found: "creeld is logged in as a role"}
	if !own {
		note.Found = "creeld uses the token that it was given"
	}
	switch {
	case ttlErr != nil || policiesErr != nil:
		note.Level, note.Found = credential.Warning, note.Found+", of which the vault tells nothing"
	case isRoot(policies):
		note.Level, note.Found = credential.Warning, note.Found+", a root token, which may do everything"
		note.Hint = "give creeld a role of AppRole with the rights that the README lists, and revoke this token"
	case ttl == 0:
		note.Level, note.Found, note.Hint = credential.Warning, note.Found+", which never ends", "give creeld a role of AppRole, or a token with a period"
	case !own && !renewable && ttl < shortLife:
		note.Level, note.Found = credential.Warning, fmt.Sprintf("%s, which ends in %s and cannot be renewed", note.Found, ttl)
		note.Hint = "give creeld a role of AppRole, which logs in anew, or a token with a period"
	default:
		note.Found = fmt.Sprintf("%s, for another %s", note.Found, ttl)
	}
	return []credential.Note{note}
}

func isRoot(policies []string) bool { return slices.Contains(policies, "root") }

// need is a right that creeld needs at a path.
type need struct {
	about, path string
	any         []string // as the vault calls it; one of these is enough
	found       string   // what is told where it has it
}

const (
	mayAsk    = "creeld may ask for it; whether the role is there shows when a command does"
	mayRevoke = "creeld may take back what is made for its commands"
)

// needsOfToken and needsOfEngine are what is needed to have something made and taken
// back.
func needsOfToken(about, where string) []need {
	const revoke = "auth/token/revoke-accessor"
	return []need{{about, where, []string{"update", "create"}, mayAsk}, {"vault:" + revoke, revoke, []string{"update"}, mayRevoke}}
}

func needsOfEngine(about, where string) []need {
	const revoke, renew = "sys/leases/revoke", "sys/leases/renew"
	return []need{{about, where, []string{"read"}, mayAsk}, {"vault:" + revoke, revoke, []string{"update"}, mayRevoke},
		{"vault:" + renew, renew, []string{"update"}, "creeld may shorten what is made for its commands"}}
}

// referenceNotes tell of each reference whether a command would get it, and
// whether it could be taken back.
func (p *Provider) referenceNotes(ctx context.Context, client *api.Client, references []string) []credential.Note {
	var notes []credential.Note
	var needs []need
	for _, reference := range references {
		where, field, _ := strings.Cut(reference, "#")
		kind, err := p.kindOf(ctx, client, where)
		note := credential.Note{About: "vault:" + reference}
		switch {
		case err != nil:
			note.Level, note.Found = credential.Failing, err.Error()
		case kind == "kv":
			note.Found = "it is there"
			if err := p.kept(ctx, client, where, field); err != nil {
				note.Level, note.Found = credential.Failing, err.Error()
			}
		case kind == "token":
			needs = append(needs, needsOfToken(note.About, where)...)
			continue
		default:
			needs = append(needs, needsOfEngine(note.About, where)...)
			continue
		}
		notes = append(notes, note)
	}
	return append(notes, p.rightNotes(ctx, client, needs)...)
}

// kindOf is "token" where a token would be made, and else the kind of the
// engine; empty where it is unknown.
func (p *Provider) kindOf(ctx context.Context, client *api.Client, where string) (string, error) {
	if makesTokens(where) {
		return "token", nil
	}
	m, err := p.mountOf(ctx, client, where)
	if err != nil {
		return "", fmt.Errorf("find the secrets engine: %w", explain(ctx, err))
	}
	return m.kind, nil
}

// kept reads a field as a command's would be, and forgets it.
func (p *Provider) kept(ctx context.Context, client *api.Client, where, field string) error {
	answer, err := p.ask(ctx, client, where, 0)
	if err != nil {
		return err
	}
	secrets, err := answer.take([]string{field})
	if err != nil {
		return err
	}
	secrets[0].Destroy()
	return nil
}

// rightNotes ask for all rights at once (Vault's API, /sys/capabilities-self).
func (p *Provider) rightNotes(ctx context.Context, client *api.Client, needs []need) []credential.Note {
	if len(needs) == 0 {
		return nil
	}
	var paths []string
	for _, n := range needs {
		if !slices.Contains(paths, n.path) {
			paths = append(paths, n.path)
		}
	}
	secret, err := client.Logical().WriteWithContext(ctx, "sys/capabilities-self", map[string]any{"paths": paths})
	if err == nil && secret == nil {
		err = errors.New("the vault says nothing")
	}
	if err != nil {
		return []credential.Note{{About: about, Level: credential.Warning, Found: fmt.Sprintf("what creeld may do is unknown: %v", explain(ctx, err)),
			Hint: "allow its role 'update' on sys/capabilities-self, as Vault's policy default does"}}
	}
	var notes []credential.Note
	told := map[string]bool{}
	for _, n := range needs {
		note := credential.Note{About: n.about, Found: n.found}
		if !allows(secret.Data[n.path], n.any) {
			note.Level, note.Found, note.Hint = credential.Failing, "the vault denies it to creeld", fmt.Sprintf("allow its role %q on %s", n.any[0], n.path)
		}
		if !told[n.about] {
			notes = append(notes, note)
		}
		told[n.about] = true
	}
	return notes
}

// allows says whether capabilities hold one that is enough.
func allows(capabilities any, enough []string) bool {
	list, _ := capabilities.([]any)
	return slices.ContainsFunc(list, func(one any) bool {
		text, _ := one.(string)
		return text == "root" || slices.Contains(enough, text)
	})
}

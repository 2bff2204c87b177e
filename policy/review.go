package policy

import (
	"strings"
	"time"
)

// concern is what a valid policy may do that a person should look at.
type concern struct {
	// where returns the paths of the values it is about; none when it does
	// not apply.
	where   func(p *Policy, now time.Time) []string
	message string
	hint    string
	// weaker is the name of the weaker mode it is, for ps and receipts.
	weaker string
	// refused says that strict: true in creel.yaml refuses the policy.
	refused bool
}

var concerns = []concern{
	{
		where: func(p *Policy, now time.Time) []string {
			return when(!now.Before(p.ReviewBy.AddDate(0, 0, 1)), "reviewBy")
		},
		message: "the review is overdue",
		hint:    "ask the owner whether it is still needed, and set the next day",
		refused: true,
	},
	{
		where: func(p *Policy, _ time.Time) []string {
			return when(p.Root.Image != "" && !strings.Contains(p.Root.Image, "@sha256:"), "root.image")
		},
		message: "the image is not pinned by a digest, so what runs can change unseen",
		hint:    "write NAME@sha256:DIGEST",
		weaker:  "root.image: unpinned",
		refused: true,
	},
	{
		where: func(p *Policy, _ time.Time) []string {
			return when(p.UserNamespace == UserNamespaceOff, "userNamespace")
		},
		message: "the sandbox has no user namespace of its own",
		hint:    "leave the key out where the kernel allows user namespaces",
		weaker:  "userNamespace: off",
		refused: true,
	},
	{
		where: func(p *Policy, _ time.Time) []string {
			return when(strings.HasPrefix(p.Seccomp, "/"), "seccomp")
		},
		message: "the seccomp profile is not one of creel's, and may allow more than they do",
		hint:    "leave the key out, or compare the file with creel's default profile",
		weaker:  "seccomp: own profile",
	},
	{
		where: func(p *Policy, _ time.Time) []string {
			return when(p.Network != nil && len(p.Network.Egress) > 0, "network.egress")
		},
		message: "commands reach services outside, and can send them what they see",
		hint:    "leave it out where the gateway is enough",
		weaker:  "network.egress",
	},
	{
		where:   func(p *Policy, _ time.Time) []string { return when(p.Scope == ScopeSession, "scope") },
		message: "a command finds in /tmp, which is its home, what earlier ones of its session left there, and they may still run",
		hint:    "leave the key out where commands need nothing of one another but the workspace",
		weaker:  "scope: session",
	},
	{
		where: func(p *Policy, _ time.Time) []string {
			return when(p.Limits.Timeout == 0 && p.Kind != KindAgent, "limits.timeout")
		},
		message: "an invocation may run for ever",
		hint:    "set the longest time that is useful",
		weaker:  "limits.timeout: unlimited",
	},
	{
		where: func(p *Policy, _ time.Time) []string {
			return credentialsThat(p, "from", func(_ *Policy, c Credential) bool {
				return c.Provider == ProviderVault && strings.HasPrefix(c.Reference, "auth/token/create#")
			})
		},
		message: "a token that is made without a role can do all that creeld's own can",
		hint:    "name a role, vault:auth/token/create/ROLE#token, whose policies allow what the command needs",
		refused: true,
	},
	{
		where:   func(p *Policy, _ time.Time) []string { return credentialsThat(p, "ttl", endsBeforeTheCommand) },
		message: "a command may run for longer than the credential is valid, and is ended then",
		hint:    "let limits.timeout be no more than ttl (of a prefetched one three quarters), or say 'onExpiry: warn' and have the command go on without it",
	},
	{
		where: func(p *Policy, _ time.Time) []string {
			return credentialsThat(p, "onExpiry", func(_ *Policy, c Credential) bool { return c.OnExpiry == OnExpiryWarn })
		},
		message: "a command goes on after its credential has ended",
		hint:    "leave the key out where a command is no use without it",
		weaker:  "credentials.onExpiry: warn",
	},
	{
		where: func(p *Policy, _ time.Time) (paths []string) {
			for _, v := range p.Env {
				if v.Value != "" && soundsSecret(v.Name) {
					paths = append(paths, join("env", v.Name))
				}
			}
			return paths
		},
		message: "the name sounds like a secret's, and env is on disk for all to read",
		hint:    "declare it under credentials",
		refused: true,
	},
	{
		where: func(p *Policy, now time.Time) (paths []string) {
			if p.Hygiene == nil {
				return nil
			}
			for i, a := range p.Hygiene.Allow {
				if a.over(now) {
					paths = append(paths, element("hygiene.allow", i)+".until")
				}
			}
			return paths
		},
		message: "the day is over, so the finding is not allowed any more",
		hint:    "take out what was found, or look at it again and set the next day",
	},
}

// credentialsThat are the paths of a key of the credentials that are of a kind.
func credentialsThat(p *Policy, key string, are func(*Policy, Credential) bool) (paths []string) {
	for i, c := range p.Credentials {
		if are(p, c) {
			paths = append(paths, element("credentials", i)+"."+key)
		}
	}
	return paths
}

func endsBeforeTheCommand(p *Policy, c Credential) bool {
	life := c.TTL
	if c.Prefetch {
		life -= Fresh(life)
	}
	return c.TTL > 0 && c.OnExpiry != OnExpiryWarn && p.Kind != KindAgent && (p.Limits.Timeout == 0 || p.Limits.Timeout > life)
}

func when(holds bool, path string) []string {
	if holds {
		return []string{path}
	}
	return nil
}

// Review lists what is valid but should be looked at, as of now: warnings,
// or with strict errors for the overdue review, the unpinned image, the
// missing user namespace, the token without a role and the secret in env. The problems have keys but no
// positions; Document.Review has both.
func (p *Policy) Review(now time.Time, strict bool) []Problem {
	var problems []Problem
	for _, c := range concerns {
		severity := SeverityWarning
		if strict && c.refused {
			severity = SeverityError
		}
		for _, path := range c.where(p, now) {
			problems = append(problems, Problem{Key: path, Message: c.message, Hint: c.hint, Severity: severity})
		}
	}
	return problems
}

// Weaker names the weaker modes in force, for ps, inspect and receipts.
func (p *Policy) Weaker() []string {
	var names []string
	for _, c := range concerns {
		if c.weaker != "" && len(c.where(p, time.Time{})) > 0 {
			names = append(names, c.weaker)
		}
	}
	return names
}

// Conflicts lists the paths of the policy that touch the supervisor's own:
// a sandbox that saw its sockets, policies, audit or init could change what
// confines it. Parse refuses the default places; this knows the real ones.
func (p *Policy) Conflicts(c *Config) []Problem {
	var problems []Problem
	check := func(path, source string) {
		for _, own := range []struct{ key, dir string }{
			{"runtimeDir", c.RuntimeDir}, {"policyDir", c.PolicyDir}, {"auditDir", c.AuditDir}, {"imageDir", c.ImageDir}, {"stateDir", c.StateDir}, {"initPath", c.InitPath},
			{"secrets.dir", c.Secrets.Dir}, {"secrets.key.file", c.Secrets.Key.File},
		} {
			if own.dir != "" && source != "" && related(source, own.dir) {
				problems = append(problems, Problem{
					Key:      path,
					Message:  "the path " + quote(source) + " overlaps with " + own.key + " " + quote(own.dir) + " of the supervisor",
					Hint:     "move one of the two",
					Severity: SeverityError,
				})
			}
		}
	}
	check("root.dir", p.Root.Dir)
	for i, m := range p.Mounts {
		if m.Kind != MountExec { // which is the supervisor's own
			check(element("mounts", i)+".source", m.Source)
		}
	}
	return problems
}

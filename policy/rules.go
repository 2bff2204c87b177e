package policy

import (
	"strings"
	"time"
)

// rule checks what no single key can tell. It sees a policy whose every value
// is valid or, where it was not, zero.
type rule func(p *Policy, report func(path string, f *fault))

var rules = []rule{
	targetsStandApart,
	readOnlyStaysReadOnly,
	sandboxCannotWriteWhatCreelTrusts,
	variablesAreSetOnce,
	callersAreSomebody,
	callersAreNamedOnce,
	networkLeadsSomewhere,
	lifeNeedsALease,
	prefetchHasABound,
	pathIsPrefetchedAsAWhole,
	dockerSharesTheUserNamespace,
	sessionsAreMadeWhenTheyAreNeeded,
	hygieneSearchesSomething,
	findingsAreAllowedOnce,
	mountsAreOfTheKind,
	agentWritesWhatIsItsOwn,
	agentRunsUntilItIsStopped,
	readinessHasAPort,
	publishedPortIsTheAgents,
	waitsAreInOrder,
}

// targetsStandApart refuses mounts that would hide one another, so that the
// order of the list never matters.
func targetsStandApart(p *Policy, report func(string, *fault)) {
	for i, m := range p.Mounts {
		for j, earlier := range p.Mounts[:i] {
			if m.Target == "" || earlier.Target == "" || !related(m.Target, earlier.Target) {
				continue
			}
			report(element("mounts", i)+".target",
				faultf("give each mount a target outside the others", "the target %s overlaps with mounts[%d].target %s", quote(m.Target), j, quote(earlier.Target)))
		}
	}
}

// readOnlyStaysReadOnly refuses a read-only mount of what another mount lets
// the sandbox write.
func readOnlyStaysReadOnly(p *Policy, report func(string, *fault)) {
	for i, m := range p.Mounts {
		if m.Writable || m.Source == "" {
			continue
		}
		if j := writer(p, func(source string) bool { return within(m.Source, source) }); j >= 0 {
			report(element("mounts", i)+".source",
				faultf("narrow the writable mount, or make this one rw as well", "the read-only source %s can be written through mounts[%d]", quote(m.Source), j))
		}
	}
}

// writer returns the first writable mount whose source satisfies f, or -1.
func writer(p *Policy, f func(source string) bool) int {
	for i, m := range p.Mounts {
		if m.Writable && m.Source != "" && f(m.Source) {
			return i
		}
	}
	return -1
}

// sandboxCannotWriteWhatCreelTrusts keeps the root, the seccomp profile and
// the helpers, which creeld runs with its own rights, out of the sandbox's
// reach.
func sandboxCannotWriteWhatCreelTrusts(p *Policy, report func(string, *fault)) {
	check := func(path, file, what string) {
		if j := writer(p, func(source string) bool { return within(file, source) || what == "root" && within(source, file) }); j >= 0 {
			report(path, faultf("move one of the two", "the sandbox could write the %s %s through mounts[%d]", what, quote(file), j))
		}
	}
	if p.Root.Dir != "" {
		check("root.dir", p.Root.Dir, "root")
	}
	if strings.HasPrefix(p.Seccomp, "/") {
		check("seccomp", p.Seccomp, "seccomp profile")
	}
	for i, c := range p.Credentials {
		if c.Provider == ProviderExec {
			helper, _, _ := strings.Cut(c.Reference, " ")
			check(element("credentials", i)+".from", helper, "helper")
		}
	}
}

// variablesAreSetOnce refuses a credential that env or another credential
// would hide.
func variablesAreSetOnce(p *Policy, report func(string, *fault)) {
	set := map[string]string{}
	for _, v := range p.Env {
		set[v.Name] = join("env", v.Name)
	}
	for i, c := range p.Credentials {
		path := element("credentials", i) + ".env"
		if c.Env == "" {
			continue
		}
		if first, twice := set[c.Env]; twice {
			report(path, faultf("rename or remove one of the two", "the variable %s is set already by %s", c.Env, first))
			continue
		}
		set[c.Env] = path
	}
}

func callersAreNamedOnce(p *Policy, report func(string, *fault)) {
	reportRepeats("callers.users", p.Callers.Users, report)
	reportRepeats("callers.tokens", p.Callers.Tokens, report)
	reportRepeats("callers.senders", p.Callers.Senders, report)
	reportRepeats("callers.channels", p.Callers.Channels, report)
}

// reportRepeats refuses words that a list has twice: one of them is a
// mistake, and the reader cannot tell which word was meant instead.
func reportRepeats(path string, words []string, report func(string, *fault)) {
	first := map[string]int{}
	for i, word := range words {
		if j, twice := first[word]; twice && word != "" {
			report(element(path, i), faultf("remove one of the two", "%s is in the list already, as %s", quote(word), element(path, j)))
			continue
		}
		first[word] = i
	}
}

// lifeNeedsALease refuses what nobody would enforce: words about the life of a
// value that does not end.
func lifeNeedsALease(p *Policy, report func(string, *fault)) {
	for i, c := range p.Credentials {
		if c.Provider == "" || leased(c.Provider) {
			continue
		}
		if c.TTL > 0 {
			report(element("credentials", i)+".ttl",
				faultf("leave ttl out, or lease the value from a vault", "the %s provider cannot take a value back, so a ttl would have no effect", c.Provider))
		}
		if c.OnExpiry != "" {
			report(element("credentials", i)+".onExpiry",
				faultf("leave onExpiry out, or lease the value from a vault", "values of the %s provider do not end", c.Provider))
		}
		if c.Prefetch {
			report(element("credentials", i)+".prefetch",
				faultf("leave prefetch out, or lease the value from a vault", "values of the %s provider have no lease, and wait for no command", c.Provider))
		}
	}
}

// shortestPrefetch keeps a value from being made again every few moments.
const shortestPrefetch = time.Minute

// prefetchHasABound refuses values made ahead of commands for nobody, or
// without saying how long each may live.
func prefetchHasABound(p *Policy, report func(string, *fault)) {
	for i, c := range p.Credentials {
		path := element("credentials", i) + ".prefetch"
		switch {
		case !c.Prefetch:
		case p.Kind == KindAgent:
			report(path, faultf("leave prefetch out", "no sandbox of an Agent waits for which the value could be made ahead"))
		case p.Pool.Warm == 0:
			report(path, faultf("say 'pool: {warm: 2}', or leave prefetch out", "no sandbox waits for which the value could be made ahead"))
		case c.TTL < shortestPrefetch && leased(c.Provider):
			report(path, faultf("say how long it may live, such as 'ttl: 10m'", "a value that is made ahead needs a ttl of at least %s", formatDuration(shortestPrefetch)))
		}
	}
}

// pathIsPrefetchedAsAWhole keeps fields of one path together, such as a user
// and its password: those made ahead and those made later would not match.
func pathIsPrefetchedAsAWhole(p *Policy, report func(string, *fault)) {
	first := map[string]int{}
	for i, c := range p.Credentials {
		path, _, ok := strings.Cut(c.Reference, "#")
		if c.Provider != ProviderVault || !ok {
			continue
		}
		if j, known := first[path]; !known {
			first[path] = i
		} else if p.Credentials[j].Prefetch != c.Prefetch {
			report(element("credentials", i)+".from",
				faultf("say 'prefetch: true' for all of them, or for none", "the fields of %s belong together, and only one of this and credentials[%d] is prefetched", quote(path), j))
		}
	}
}

// dockerSharesTheUserNamespace has a policy say what it gives up: Docker has
// user namespaces for all containers of a daemon or for none, never one of a
// container's own (dockerd(8), userns-remap).
func dockerSharesTheUserNamespace(p *Policy, report func(string, *fault)) {
	if p.Engine == EngineDocker && p.UserNamespace == UserNamespaceRequired {
		report("engine", faultf("say 'userNamespace: off' and accept the weaker mode, or choose the oci engine",
			"the docker engine cannot give a sandbox a user namespace of its own"))
	}
}

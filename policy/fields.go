package policy

import (
	"net/netip"
	"time"
)

// This file is the schema: every key of a policy with its type, range,
// default and meaning. Decoder, defaults, explain, show and the JSON Schema
// are all made from these rows.

var policyFile = table(func() []field[Policy] {
	return []field[Policy]{
		derived("apiVersion", oneOf(APIVersion),
			func(*Policy) string { return APIVersion }, func(*Policy, string) {},
			"The version of this format: "+APIVersion+"."),
		required("kind", oneOf(KindPolicy, KindAgent), func(p *Policy) *Kind { return &p.Kind },
			"What the file declares: a Policy is a sandbox for one command, an Agent one that is kept up."),
		required("name", policyName, func(p *Policy) *string { return &p.Name },
			"What callers select the policy by; it equals the file's name without .yaml."),
		required("justification", prose("text that says why commands may run at all", 4096), func(p *Policy) *string { return &p.Justification },
			"Why commands may run at all, for whoever reviews the policy."),
		required("owner", prose("text that says who answers for the policy", 254), func(p *Policy) *string { return &p.Owner },
			"Who answers for the policy."),
		required("reviewBy", date, func(p *Policy) *time.Time { return &p.ReviewBy },
			"The last day before the policy must be reviewed again."),
		required("root", rootFields, func(p *Policy) *Root { return &p.Root },
			"The read-only root file system; exactly one of its keys."),
		optional("engine", sparse[Engine]{oneOf(EngineOCI, EngineDocker), null}, "", func(p *Policy) *Engine { return &p.Engine },
			"What makes the containers; left out, what creel.yaml says."),
		required("user", sandboxUser, func(p *Policy) *string { return &p.User },
			"Whom the command runs as: a user name or UID:GID, never root."),
		optional("workdir", sparse[string]{absolute("an absolute path in the sandbox", kernelWorkdir), nothing}, "", func(p *Policy) *string { return &p.Workdir },
			"Where the command starts; left out, the first workspace, or / without one."),
		optional("mounts", list[Mount]{what: "a list of mounts", item: mountFields, max: 64}, nil, func(p *Policy) *[]Mount { return &p.Mounts },
			"The host directories that the sandbox sees, and no others."),
		optional("tmp", tmpFields, tmpFields.defaults(), func(p *Policy) *Tmp { return &p.Tmp },
			"The bounds of the private /tmp, which is memory."),
		optional("env", environment{}, nil, func(p *Policy) *[]EnvVar { return &p.Env },
			"Fixed variables that are not secret."),
		optional("credentials", list[Credential]{what: "a list of credentials", item: credentialFields, max: 64}, nil, func(p *Policy) *[]Credential { return &p.Credentials },
			"Secret values, each delivered as one variable of the command and nowhere else."),
		optional("network", nullable[Network]{networkFields}, nil, func(p *Policy) **Network { return &p.Network },
			"What the sandbox may reach; left out, it has no network at all."),
		optional("seccomp", seccompProfile, "default", func(p *Policy) *string { return &p.Seccomp },
			"The system calls the command may make: a built-in profile's name, or the path of a file in Docker's format."),
		optional("userNamespace", oneOf(UserNamespaceRequired, UserNamespaceOff), UserNamespaceRequired, func(p *Policy) *UserNamespace { return &p.UserNamespace },
			"Whether the sandbox has a user namespace of its own; off is a weaker mode."),
		optional("limits", limitsFields, limitsFields.defaults(), func(p *Policy) *Limits { return &p.Limits },
			"What one sandbox may use."),
		optional("logs", logsFields, logsFields.defaults(), func(p *Policy) *Logs { return &p.Logs },
			"How much output is kept for creel logs."),
		ofPolicy(optional("pool", poolFields, poolFields.defaults(), func(p *Policy) *Pool { return &p.Pool },
			"Sandboxes made before they are needed."), "leave it out: an Agent is one sandbox"),
		ofPolicy(optional("scope", oneOf(ScopeCommand, ScopeSession), ScopeCommand, func(p *Policy) *Scope { return &p.Scope },
			"What commands share: nothing, or within a session /tmp and what is left running, a weaker mode."), "leave it out: nobody runs commands in an Agent"),
		ofPolicy(optional("session", sessionFields, sessionFields.defaults(), func(p *Policy) *Session { return &p.Session },
			"How long a session lasts, with 'scope: session'."), "leave it out: nobody runs commands in an Agent"),
		optional("hygiene", nullable[Hygiene]{hygieneFields}, nil, func(p *Policy) **Hygiene { return &p.Hygiene },
			"What is searched for credentials before a command starts; left out, nothing is."),
		ofPolicy(required("callers", callersFields, func(p *Policy) *Callers { return &p.Callers },
			"Who may run the policy."), "leave it out: nobody runs commands in an Agent"),
		ofAgent(required("command", list[string]{what: "a program and its arguments", item: argument, min: 1, max: 1024}, func(p *Policy) *[]string { return &p.Agent.Command },
			"The program that is kept up, and its arguments; no shell reads them.")),
		ofAgent(optional("publish", sparse[netip.AddrPort]{publishAddress, nothing}, netip.AddrPort{}, func(p *Policy) *netip.AddrPort { return &p.Agent.Publish },
			"The loopback address and port of the host at which its port of the same number is reached; left out, it is not.")),
		ofAgent(optional("ready", nullable[Ready]{readyFields}, nil, func(p *Policy) **Ready { return &p.Agent.Ready },
			"How creeld knows that it works; left out, it is thought to while it runs.")),
		ofAgent(optional("restart", restartFields, restartFields.defaults(), func(p *Policy) *Restart { return &p.Agent.Restart },
			"When it is started again after it has ended.")),
		ofAgent(optional("onRotation", oneOf(RotationRestart, "SIGHUP", "SIGUSR1", "SIGUSR2"), RotationRestart, func(p *Policy) *Rotation { return &p.Agent.OnRotation },
			"What it gets when a credential of it has another value: a restart, or a signal; only a restart brings it the value.")),
		ofAgent(optional("stop", stopFields, stopFields.defaults(), func(p *Policy) *Stop { return &p.Agent.Stop },
			"How it is asked to end.")),
	}
}).split("kind", string(KindAgent), Policy{Kind: KindAgent}, Policy{Kind: KindPolicy})

var rootFields = choice(func() []field[Root] {
	return []field[Root]{
		optional("host", sparse[bool]{onlyTrue, nothing}, false, func(r *Root) *bool { return &r.Host },
			"The host's own programs and libraries, and a few harmless files of /etc."),
		optional("image", sparse[string]{image, nothing}, "", func(r *Root) *string { return &r.Image },
			"A container image; without a digest it can change unseen, a weaker mode."),
		optional("dir", sparse[string]{absolute("an absolute path on the host", dangerousSource), nothing}, "", func(r *Root) *string { return &r.Dir },
			"A directory of the host with an unpacked root file system."),
	}
})

var mountFields = table(func() []field[Mount] {
	return []field[Mount]{
		required("kind", oneOf(MountWorkspace, MountLogs, MountData, MountState, MountConfig, MountExec), func(m *Mount) *MountKind { return &m.Kind },
			"What the mount is for; state, config and exec are of an Agent, and exec is a socket on which it runs commands."),
		only(required("source", absolute("an absolute path on the host", dangerousSource), func(m *Mount) *string { return &m.Source },
			"The directory or regular file of the host."), func(m *Mount) bool { return m.Kind != MountExec },
			"leave it out: creel makes the socket"),
		required("target", absolute("an absolute path in the sandbox", reservedTarget), func(m *Mount) *string { return &m.Target },
			"Where the sandbox sees it."),
		derivedOptional("mode", oneOf("ro", "rw"),
			func(m *Mount) string {
				if m.Writable {
					return "rw"
				}
				return "ro"
			},
			func(m *Mount, mode string) { m.Writable = mode == "rw" },
			"ro to read, rw to write as well."),
	}
}).split("kind", string(MountExec), Mount{Kind: MountExec}, Mount{Kind: MountWorkspace})

var tmpFields = table(func() []field[Tmp] {
	return []field[Tmp]{
		// tmpfs(5) takes zero for no limit, so neither bound can be zero.
		optional("size", size(64*kib, tib), 64*mib, func(t *Tmp) *int64 { return &t.Size },
			"The most bytes that /tmp holds."),
		optional("inodes", integer[int64](16, 10_000_000), 10_000, func(t *Tmp) *int64 { return &t.Inodes },
			"The most files and directories that /tmp holds."),
	}
})

var credentialFields = table(func() []field[Credential] {
	return []field[Credential]{
		required("env", envName, func(c *Credential) *string { return &c.Env },
			"The variable that carries the value."),
		derived("from", credentialFrom,
			func(c *Credential) credentialSource { return credentialSource{c.Provider, c.Reference} },
			func(c *Credential, s credentialSource) { c.Provider, c.Reference = s.provider, s.reference },
			"Where the value comes from: systemd:NAME, exec:HELPER ARG…, vault:PATH#FIELD or store:NAME."),
		optional("ttl", sparse[time.Duration]{duration(time.Second, 24*time.Hour), null}, 0, func(c *Credential) *time.Duration { return &c.TTL },
			"The longest the value stays valid; left out, as long as the invocation."),
		optional("onExpiry", sparse[OnExpiry]{oneOf(OnExpiryEnd, OnExpiryWarn), nothing}, "", func(c *Credential) *OnExpiry { return &c.OnExpiry },
			"What becomes of a command that outlives the value: end, unless it says warn, with which it goes on and the journal tells."),
		optional("prefetch", sparse[bool]{onlyTrue, nothing}, false, func(c *Credential) *bool { return &c.Prefetch },
			"Has a leased value made ahead for the sandboxes of the pool, and used in the first quarter of its ttl; it waits in creeld's memory."),
	}
})

var networkFields = table(func() []field[Network] {
	return []field[Network]{
		optional("gateway", sparse[netip.AddrPort]{gatewayAddress, nothing}, netip.AddrPort{}, func(n *Network) *netip.AddrPort { return &n.Gateway },
			"The IPv4 loopback address and port of OpenClaw's gateway."),
		optional("egress", list[Destination]{what: "a list of services", item: destination, max: 256}, nil, func(n *Network) *[]Destination { return &n.Egress },
			"The services, as HOST:PORT, that are in reach through creel's proxy, by TLS alone; an empty list means none."),
		optional("egressReason", sparse[string]{prose("text that says why commands reach more than the gateway", 1024), nothing}, "",
			func(n *Network) *string { return &n.EgressReason },
			"Why commands reach these services, for whoever reviews the policy; required with egress."),
		optional("proxy", gatewayAddress, netip.MustParseAddrPort("127.0.0.1:3128"), func(n *Network) *netip.AddrPort { return &n.Proxy },
			"Where the sandbox finds the proxy, which the command is told in HTTPS_PROXY and ALL_PROXY."),
		optional("maxConnections", integer(1, 4096), 64, func(n *Network) *int { return &n.MaxConnections },
			"The most connections that one sandbox has open at once, to each of gateway and proxy."),
	}
})

var limitsFields = table(func() []field[Limits] {
	return []field[Limits]{
		optional("memory", size(16*mib, 16*tib), 512*mib, func(l *Limits) *int64 { return &l.Memory },
			"The most memory, /tmp included and without swap; the kernel ends a sandbox that needs more."),
		optional("cpus", cpus, 1000, func(l *Limits) *int64 { return &l.MilliCPU },
			"How many processors' worth of time it gets."),
		// creel-init's own threads count; the upper bound is PID_MAX_LIMIT (proc(5)).
		optional("pids", integer[int64](16, 4_194_304), 128, func(l *Limits) *int64 { return &l.Pids },
			"The most processes and threads, creel-init's own included."),
		// The upper bound is the kernel's default fs.nr_open (proc(5)).
		optional("nofile", integer[int64](16, 1_048_576), 1024, func(l *Limits) *int64 { return &l.NoFile },
			"The most open files of one process."),
		optional("fileSize", limit(size(4*kib, 16*tib)), 0, func(l *Limits) *int64 { return &l.FileSize },
			"The largest file that may be written."),
		optional("timeout", limit(duration(10*time.Millisecond, 720*time.Hour)), 5*time.Minute, func(l *Limits) *time.Duration { return &l.Timeout },
			"How long one invocation may take; unlimited is a weaker mode."),
		optional("output", limit(size(kib, tib)), 0, func(l *Limits) *int64 { return &l.Output },
			"The most bytes of stdout and stderr together."),
	}
})

var logsFields = table(func() []field[Logs] {
	return []field[Logs]{
		optional("keep", size(0, 16*mib), 0, func(l *Logs) *int64 { return &l.Keep },
			"How many bytes of the end of the output the supervisor keeps in memory; 0 keeps nothing."),
	}
})

var poolFields = table(func() []field[Pool] {
	return []field[Pool]{
		optional("warm", integer(0, 64), 0, func(p *Pool) *int { return &p.Warm },
			"How many sandboxes wait ready."),
	}
})

var callersFields = table(func() []field[Callers] {
	return []field[Callers]{
		optional("users", unlessEmpty[string]{list[string]{what: "a list of user names", item: caller, min: 1, max: 256}}, nil, func(c *Callers) *[]string { return &c.Users },
			"User names or decimal user ids, as the kernel knows the caller by."),
		optional("tokens", unlessEmpty[string]{list[string]{what: "a list of names of tokens", item: tokenNames, min: 1, max: 256}}, nil, func(c *Callers) *[]string { return &c.Tokens },
			"Names of API tokens, for callers whose user proves nothing; a token must name the policy too."),
		optional("senders", unlessEmpty[string]{list[string]{what: "a list of senders", item: origin, min: 1, max: 4096}}, nil, func(c *Callers) *[]string { return &c.Senders },
			"For whom the users may run it, as PLATFORM:ID; left out, for anybody."),
		optional("channels", unlessEmpty[string]{list[string]{what: "a list of channels", item: origin, min: 1, max: 4096}}, nil, func(c *Callers) *[]string { return &c.Channels },
			"From where the users may run it, as PLATFORM:ID; left out, from anywhere."),
	}
})

package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Agent is what only a policy of kind Agent says; of another it is zero.
type Agent struct {
	Command []string
	// Publish is a loopback address and port of the host; zero: the agent is
	// reached by nobody. Inside, the port has the same number.
	Publish netip.AddrPort
	// Ready is nil when nothing is asked of the agent but to run.
	Ready      *Ready
	Restart    Restart
	OnRotation Rotation
	Stop       Stop
}

// Ready is an HTTP request that the agent answers with a status of 200 to 299
// while it works (RFC 9110, 15.3).
type Ready struct {
	HTTP string // the path
	Port int    // on 127.0.0.1 inside; that of publish, where it was left out
	// Within is how long the first such answer may take to come.
	Within time.Duration
	// Every is the pause between requests from then on, and Timeout how long each
	// may take.
	Every, Timeout time.Duration
	// Failures in a row have the agent started anew.
	Failures int
}

// Restart says when an agent that has ended is started again: after Backoff,
// and each time twice as long, up to Most.
type Restart struct {
	Backoff, Most time.Duration
	Limit         RestartLimit
}

// RestartLimit is how often the agent may end within a time before it stays
// down; zero: as often as it likes.
type RestartLimit struct {
	Count int
	In    time.Duration
}

// Rotation is what an agent gets when a credential has another value:
// RotationRestart, or the name of a signal.
type Rotation string

// RotationRestart is the one way in which it gets the value itself.
const RotationRestart Rotation = "restart"

// Stop is a signal, by its name, and how long after it the agent is killed.
type Stop struct {
	Signal string
	Grace  time.Duration
}

// ofPolicy makes a key one of kind Policy alone, and ofAgent of kind Agent.
func ofPolicy(f field[Policy], instead string) field[Policy] {
	return only(f, func(p *Policy) bool { return p.Kind != KindAgent }, instead)
}

func ofAgent(f field[Policy]) field[Policy] {
	return only(f, func(p *Policy) bool { return p.Kind == KindAgent }, "leave it out, or declare kind: Agent")
}

var readyFields = table(func() []field[Ready] {
	return []field[Ready]{
		required("http", probePath, func(r *Ready) *string { return &r.HTTP },
			"The path that is asked for, such as /healthz."),
		optional("port", sparse[int]{integer(1, 65535), null}, 0, func(r *Ready) *int { return &r.Port },
			"The port of 127.0.0.1 inside; left out, that of publish."),
		optional("within", duration(100*time.Millisecond, time.Hour), time.Minute, func(r *Ready) *time.Duration { return &r.Within },
			"How long the first good answer may take; an agent that is not ready by then is started anew."),
		optional("every", duration(10*time.Millisecond, time.Hour), 10*time.Second, func(r *Ready) *time.Duration { return &r.Every },
			"How long after an answer it is asked again."),
		optional("timeout", duration(10*time.Millisecond, time.Minute), 5*time.Second, func(r *Ready) *time.Duration { return &r.Timeout },
			"How long an answer may take."),
		optional("failures", integer(1, 100), 3, func(r *Ready) *int { return &r.Failures },
			"After how many bad answers in a row it is started anew."),
	}
})

var restartFields = table(func() []field[Restart] {
	return []field[Restart]{
		optional("backoff", duration(10*time.Millisecond, time.Hour), time.Second, func(r *Restart) *time.Duration { return &r.Backoff },
			"How long after its end it is started again; twice as long each time."),
		optional("most", duration(10*time.Millisecond, 24*time.Hour), time.Minute, func(r *Restart) *time.Duration { return &r.Most },
			"The longest that this becomes; an agent that has run for as long begins anew with backoff."),
		optional("limit", restartLimit, RestartLimit{5, 10 * time.Minute}, func(r *Restart) *RestartLimit { return &r.Limit },
			"How often it may end in what time, such as 5 in 10m, before it stays down until somebody starts it, or unlimited."),
	}
})

var stopFields = table(func() []field[Stop] {
	return []field[Stop]{
		optional("signal", oneOf("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"), "SIGTERM", func(s *Stop) *string { return &s.Signal },
			"The signal that asks it to end."),
		optional("grace", duration(10*time.Millisecond, 5*time.Minute), 10*time.Second, func(s *Stop) *time.Duration { return &s.Grace },
			"How long after the signal it is killed; creeld's own stop takes as long, see TimeoutStopSec= of its unit."),
	}
})

// argument is one word of a command; an empty one is a word too.
var argument = scalar[string]{
	what: "text",
	parse: func(text string) (string, *fault) {
		if len(text) > longestEnv {
			return "", faultf("put it in a file that is mounted", "the argument has %d bytes, more than the %d allowed", len(text), longestEnv)
		}
		return text, nil
	},
	format: show[string],
}

// publishAddress is a loopback address with an unprivileged port: an agent is
// for who is on this host, and what is to be reached from elsewhere is a reverse
// proxy's to guard.
var publishAddress = scalar[netip.AddrPort]{
	what:    "a loopback address and port",
	pattern: matching(`^(127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|\[::1\]):[1-9][0-9]{3,4}$`),
	hint:    "such as 127.0.0.1:18789 or [::1]:18789, with a port from 1024 to 65535; from other hosts it is reached through a proxy or an SSH tunnel of yours",
	parse:   gatewayAddress.parse,
	format:  netip.AddrPort.String,
}

// probePath is the path of a URL as it stands in a request (RFC 3986, 3.3).
var probePath = scalar[string]{
	what:    "the path of a URL",
	pattern: matching(`^/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*$`),
	hint:    "such as /healthz, without host, query or fragment",
	parse: func(text string) (string, *fault) {
		if len(text) > longestPath {
			return "", faultf("shorten it", "the path has %d bytes, more than the %d allowed", len(text), longestPath)
		}
		return text, nil
	},
	format: show[string],
}

var restartLimit = scalar[RestartLimit]{
	what:    "a number of ends in a time, such as 5 in 10m, or unlimited",
	pattern: matching(`^(unlimited|[1-9][0-9]{0,2} in [0-9hms]+)$`),
	hint:    "write a number from 1 to 999, the word in, and a time",
	parse: func(text string) (RestartLimit, *fault) {
		if text == unlimited {
			return RestartLimit{}, nil
		}
		digits, span, _ := strings.Cut(text, " in ")
		count, err := strconv.Atoi(digits)
		in, f := limitTime.parseText(span)
		if err != nil || f != nil {
			return RestartLimit{}, faultf("such as 5 in 10m, with a time from 1s to 24h", "%s is not a number of ends in a time", quote(text))
		}
		return RestartLimit{count, in}, nil
	},
	format: RestartLimit.String,
}

func (l RestartLimit) String() string {
	if l == (RestartLimit{}) {
		return unlimited
	}
	return strconv.Itoa(l.Count) + " in " + formatDuration(l.In)
}

var limitTime = duration(time.Second, 24*time.Hour)

// agentLogs is how many bytes of an agent's output are kept where its policy
// does not say: nobody else reads it.
const agentLogs = 256 * kib

// keepAgentsUp gives an Agent the defaults that differ from a Policy's, in what
// was left out.
func keepAgentsUp(p *Policy, given map[string]position) {
	if p.Kind != KindAgent {
		return
	}
	if _, ok := given["limits.timeout"]; !ok {
		p.Limits.Timeout = 0
	}
	if _, ok := given["logs.keep"]; !ok {
		p.Logs.Keep = agentLogs
	}
	if r := p.Agent.Ready; r != nil && r.Port == 0 {
		r.Port = int(p.Agent.Publish.Port())
	}
}

// mountsAreOfTheKind keeps what only an agent may have out of the sandboxes of
// commands.
func mountsAreOfTheKind(p *Policy, report func(string, *fault)) {
	sockets := 0
	for i, m := range p.Mounts {
		path := element("mounts", i) + ".kind"
		switch m.Kind {
		case MountExec, MountState, MountConfig:
			if p.Kind == KindPolicy {
				report(path, faultf("choose workspace, logs or data; a command must not run commands in other sandboxes, and keeps nothing", "a mount of kind %s is an Agent's", m.Kind))
			}
		}
		if m.Kind == MountExec {
			if sockets++; sockets > 1 {
				report(path, faultf("remove all but one", "there are several mounts of kind exec"))
			}
		}
	}
}

// agentWritesWhatIsItsOwn keeps an agent from changing its own configuration,
// and anything that is not there for it to write.
func agentWritesWhatIsItsOwn(p *Policy, report func(string, *fault)) {
	if p.Kind != KindAgent {
		return
	}
	for i, m := range p.Mounts {
		if m.Writable && m.Kind != MountState && m.Kind != MountWorkspace && m.Kind != MountLogs {
			report(element("mounts", i)+".mode",
				faultf("say ro, or mount what it is to keep as kind state", "an agent writes to mounts of kind state, workspace and logs only"))
		}
	}
}

// agentRunsUntilItIsStopped refuses limits that would end it.
func agentRunsUntilItIsStopped(p *Policy, report func(string, *fault)) {
	if p.Kind != KindAgent {
		return
	}
	if p.Limits.Timeout > 0 {
		report("limits.timeout", faultf("leave it out", "an agent has no time limit: it is kept up"))
	}
	if p.Limits.Output > 0 {
		report("limits.output", faultf("leave it out; 'logs: {keep: …}' says how much of it is kept", "an agent may write for as long as it runs"))
	}
	if command := p.Agent.Command; len(command) > 0 && command[0] == "" {
		report("command[0]", faultf("write the path of a program, or its name", "the program has no name"))
	}
}

// readinessHasAPort wants to know where to ask.
func readinessHasAPort(p *Policy, report func(string, *fault)) {
	if r := p.Agent.Ready; r != nil && r.Port == 0 {
		report("ready.port", faultf("name the port that the agent listens at", "there is no publish whose port it could be"))
	}
}

// publishedPortIsTheAgents keeps the port that the agent is to listen at free
// inside.
func publishedPortIsTheAgents(p *Policy, report func(string, *fault)) {
	port := p.Agent.Publish.Port()
	if port == 0 || p.Network == nil {
		return
	}
	if p.Network.Gateway.Port() == port {
		report("network.gateway", faultf("leave it out: the agent is the gateway; it is for another service of this host", "the agent listens at port %d itself", port))
	}
	if len(p.Network.Egress) > 0 && p.Network.Proxy.Port() == port {
		report("network.proxy", faultf("choose another port", "the agent listens at port %d itself", port))
	}
}

// waitsAreInOrder refuses a wait that grows to less than it begins with.
func waitsAreInOrder(p *Policy, report func(string, *fault)) {
	if r := p.Agent.Restart; r.Most > 0 && r.Most < r.Backoff {
		report("restart.most", faultf("choose at least the time of backoff", "the longest wait is shorter than the first, %s", formatDuration(r.Backoff)))
	}
}

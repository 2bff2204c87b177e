package policy

import "time"

var hygieneFields = table(func() []field[Hygiene] {
	return []field[Hygiene]{
		required("secrets", oneOf(HygieneRefuse, HygieneWarn), func(h *Hygiene) *HygieneMode { return &h.Secrets },
			"What comes of a credential in a workspace, in its Git history or in the files: refuse to run the command, or warn."),
		optional("files", list[string]{what: "a list of files", item: absolute("an absolute path on the host"), max: 64}, nil, func(h *Hygiene) *[]string { return &h.Files },
			"Files besides the workspaces, such as OpenClaw's openclaw.json; directories are searched with all below them."),
		optional("maxAge", sparse[time.Duration]{duration(time.Second, 24*time.Hour), null}, 0, func(h *Hygiene) *time.Duration { return &h.MaxAge },
			"How old the last search may be when a command starts; left out, there is one for each command."),
		optional("allow", list[Allowed]{what: "a list of findings", item: allowedFields, max: 1024}, nil, func(h *Hygiene) *[]Allowed { return &h.Allow },
			"What was found and is no credential in use."),
	}
})

var allowedFields = table(func() []field[Allowed] {
	return []field[Allowed]{
		required("fingerprint", fingerprint, func(a *Allowed) *string { return &a.Fingerprint },
			"What a finding is known by, as creel policy check prints it."),
		required("reason", prose("text that says why it is no credential in use", 1024), func(a *Allowed) *string { return &a.Reason },
			"Why it is no credential in use."),
		required("until", date, func(a *Allowed) *time.Time { return &a.Until },
			"The last day that it is allowed."),
	}
})

var fingerprint = scalar[string]{
	what:    "a fingerprint of 16 hexadecimal digits",
	pattern: matching(`^[0-9a-f]{16}$`),
	hint:    "copy it from what creel policy check prints, and put it in quotes",
	parse:   keep[string],
	format:  show[string],
}

// hygieneSearchesSomething refuses the key where it would have no effect.
func hygieneSearchesSomething(p *Policy, report func(string, *fault)) {
	if p.Hygiene == nil || len(p.Hygiene.Files) > 0 {
		return
	}
	for _, m := range p.Mounts {
		if m.Kind == MountWorkspace {
			return
		}
	}
	report("hygiene", faultf("name 'files', or mount a workspace", "there is nothing to search: the policy has no mount of kind workspace"))
}

// findingsAreAllowedOnce refuses a fingerprint that is in the list twice, with
// two reasons or days.
func findingsAreAllowedOnce(p *Policy, report func(string, *fault)) {
	if p.Hygiene == nil {
		return
	}
	first := map[string]int{}
	for i, a := range p.Hygiene.Allow {
		if j, twice := first[a.Fingerprint]; twice && a.Fingerprint != "" {
			report(element("hygiene.allow", i)+".fingerprint", faultf("remove one of the two", "it is in the list already, as %s", element("hygiene.allow", j)))
			continue
		}
		first[a.Fingerprint] = i
	}
}

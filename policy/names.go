package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// policyName reads a name that becomes part of file, cgroup and container
// names: a DNS label (RFC 1123) fits all of them.
var policyName = scalar[string]{
	what:    "a name of lower-case letters, digits and dashes, at most 63",
	pattern: matching(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`),
	hint:    "such as exec-default",
	parse:   keep[string],
	format:  show[string],
}

// userText is systemd's strict syntax of user and group names
// (systemd.io/USER_NAMES); idText is a 32-bit id.
const (
	userText = `[a-zA-Z_][a-zA-Z0-9_-]{0,30}`
	idText   = `(0|[1-9][0-9]{0,9})`
)

var (
	userName   = matching(`^` + userText + `$`)
	userIDs    = matching(`^` + idText + `:` + idText + `$`)
	callerText = matching(`^(` + userText + `|` + idText + `)$`)
)

// sandboxUser is whom the command runs as: never root, by name or by number.
var sandboxUser = scalar[string]{
	what:    "a user name or UID:GID",
	pattern: matching(`^(` + userText + `|` + idText + `:` + idText + `)$`),
	hint:    "such as openclaw or 1000:1000",
	parse: func(text string) (string, *fault) {
		const hint = "name an unprivileged user; make one with useradd --system if there is none"
		if text == "root" {
			return "", faultf(hint, "the sandbox may not run as root")
		}
		ids := userIDs.submatches(text)
		if ids == nil {
			return text, nil
		}
		for i, kind := range []string{"user", "group"} {
			switch {
			case ids[i+1] == "0":
				return "", faultf(hint, "the sandbox may not run with %s id 0", kind)
			case !validID(ids[i+1]):
				return "", faultf("choose an id from 1 to 4294967294, but not 65535", "%s is not a usable %s id", ids[i+1], kind)
			}
		}
		return text, nil
	},
	format: show[string],
	shape:  schema{Not: &schema{Pattern: `^root$|^0:|:0$`}},
}

// validID refuses the two numbers that mean "no id" to the kernel: -1 in 32
// and in 16 bits (chown(2); systemd.io/UIDS-GIDS).
func validID(digits string) bool {
	id, err := strconv.ParseUint(digits, 10, 32)
	return err == nil && id != 1<<32-1 && id != 1<<16-1
}

// caller is a user name or a decimal uid of the host; root may be one.
var caller = scalar[string]{
	what:    "a user name or a decimal user id",
	tags:    []string{"!!str", "!!int"},
	pattern: callerText,
	hint:    "such as openclaw or 1000",
	parse: func(text string) (string, *fault) {
		if !userName.MatchString(text) && !validID(text) {
			return "", faultf("choose an id from 0 to 4294967294, but not 65535", "%s is not a usable user id", text)
		}
		return text, nil
	},
	format: show[string],
	shape: schema{AnyOf: []*schema{
		{Type: "string", Pattern: callerText.String()},
		{Type: "integer", Minimum: "0", Maximum: "4294967294"},
	}},
}

// origin is a person or a place of a chat platform, in OpenClaw's words:
// telegram:123456789, telegram:-1001234567890, slack:U0123ABC.
var origin = scalar[string]{
	what:    "PLATFORM:ID",
	pattern: matching(`^[a-z][a-z0-9_-]{0,31}:[!-~]{1,200}$`),
	hint:    "such as telegram:123456789 or slack:C0123ABC; wildcards are not understood",
	parse: func(text string) (string, *fault) {
		if strings.HasSuffix(text, ":*") {
			return "", faultf("leave the key out where anybody may", "%s means a sender whose ID is an asterisk", quote(text))
		}
		return text, nil
	},
	format: show[string],
}

// groupName is a group of the host.
var groupName = scalar[string]{
	what: "a group name", pattern: userName, hint: "such as creel", parse: keep[string], format: show[string],
}

// imageText is the grammar of image references (distribution/reference),
// where either a tag or a SHA-256 digest must stand.
var imageText = func() *pattern {
	const (
		label  = `[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?`
		domain = label + `(?:\.` + label + `)*(?::[0-9]{1,5})?`
		part   = `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
		tag    = `:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}`
		digest = `@sha256:[0-9a-f]{64}`
	)
	return matching(fmt.Sprintf(`^(?:%s/)?%s(?:/%s)*(?:%s|%s|%s%s)$`, domain, part, part, tag, digest, tag, digest))
}()

var image = scalar[string]{
	what:    "an image reference, NAME@sha256:DIGEST or NAME:TAG",
	pattern: imageText,
	hint:    "a reference has a lower-case name and a digest of 64 hexadecimal digits or a tag",
	parse: func(text string) (string, *fault) {
		if len(text) > 255+len("@sha256:")+64 {
			return "", faultf("shorten the name", "the image reference is too long")
		}
		return text, nil
	},
	format: show[string],
}

// seccompProfile is the name of a built-in profile or the path of a file.
var seccompProfile = scalar[string]{
	what:    "the name of a built-in seccomp profile or an absolute path",
	pattern: matching(`^([a-z][a-z0-9-]{0,62}|/.*)$`),
	hint:    "such as default",
	parse: func(text string) (string, *fault) {
		if text == "unconfined" {
			return "", faultf("choose a profile; a sandbox never runs without one", "there is no unconfined profile")
		}
		if strings.HasPrefix(text, "/") {
			return text, unclean(text)
		}
		return text, nil
	},
	format: show[string],
}

// secretNames are the endings that the names of secrets have.
var secretNames = []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "API_KEY", "PRIVATE_KEY", "ACCESS_KEY", "CREDENTIALS"}

func soundsSecret(name string) bool {
	return slices.ContainsFunc(secretNames, func(end string) bool { return strings.HasSuffix(strings.ToUpper(name), end) })
}

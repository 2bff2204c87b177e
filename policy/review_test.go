package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func keysOf(problems []Problem, severity Severity) []string {
	var keys []string
	for _, p := range problems {
		if p.Severity == severity {
			keys = append(keys, p.Key)
		}
	}
	return keys
}

func TestReviewIsOverdueTheDayAfter(t *testing.T) {
	p := mustParse(t, minimal) // reviewBy 2027-02-01
	last := time.Date(2027, 2, 1, 23, 59, 59, 0, time.UTC)
	if got := p.Review(last, true); len(got) != 0 {
		t.Errorf("on the day itself: %v", got)
	}
	late := last.Add(time.Second)
	if got := keysOf(p.Review(late, false), SeverityWarning); !slices.Equal(got, []string{"reviewBy"}) {
		t.Errorf("the day after: %v", got)
	}
	if got := keysOf(p.Review(late, true), SeverityError); !slices.Equal(got, []string{"reviewBy"}) {
		t.Errorf("the day after, strict: %v", got)
	}
}

func TestStrictRefusesTheWeakerModesItNames(t *testing.T) {
	doc, problems := Read("image-tag.yaml", read(t, "testdata/good/image-tag.yaml"))
	if doc == nil {
		t.Fatal(lines(problems))
	}
	all := []string{"reviewBy", "root.image", "userNamespace", "env.API_TOKEN", "credentials[0].from", "credentials[0].ttl", "credentials[1].onExpiry", "limits.timeout"}
	if got := keysOf(doc.Review(reviewDay, false), SeverityWarning); !slices.Equal(got, all) {
		t.Errorf("warnings: %v", got)
	}
	strict := doc.Review(reviewDay, true)
	if got := keysOf(strict, SeverityError); !slices.Equal(got, all[:5]) {
		t.Errorf("errors: %v", got)
	}
	for _, p := range strict {
		if p.File != "image-tag.yaml" || p.Line == 0 {
			t.Errorf("a problem without a place: %v", p)
		}
	}
}

func TestWeakerModesAreNamed(t *testing.T) {
	sha := strings.Repeat("0", 64)
	for line, want := range map[string]string{
		"userNamespace: off":                                         "userNamespace: off",
		"userNamespace: required":                                    "",
		"root: {image: a:1}":                                         "root.image: unpinned",
		"root: {image: 'a:1@sha256:" + sha + "'}":                    "",
		"limits: {timeout: unlimited}":                               "limits.timeout: unlimited",
		"limits: {timeout: 720h}":                                    "",
		"credentials: [{env: A, from: 'vault:a#b', onExpiry: warn}]": "credentials.onExpiry: warn",
		"credentials: [{env: A, from: 'vault:a#b', onExpiry: end}]":  "",
	} {
		if got := strings.Join(mustParse(t, with(line)).Weaker(), ","); got != want {
			t.Errorf("%s: weaker is %q, want %q", line, got, want)
		}
	}
}

func TestPoliciesCannotShowTheSupervisorsOwnDirectories(t *testing.T) {
	c := &Config{RuntimeDir: "/srv/t/run", PolicyDir: "/srv/t/policies", AuditDir: "/srv/t/audit", ImageDir: "/srv/t/images", StateDir: "/srv/t/state", InitPath: "/srv/t/bin/creel-init"}
	for source, conflicts := range map[string]int{
		"/srv/t":              6,
		"/srv/t/state/leases": 1,
		"/srv/t/run":          1,
		"/srv/t/run/x":        1,
		"/srv/t/bin":          1,
		"/srv/t/images/x":     1,
		"/srv/t/running":      0,
		"/srv/other":          0,
		"/srv/t/policies/a/":  -1,
	} {
		text := with("mounts: [{kind: data, source: " + source + ", target: /x}]")
		doc, _ := Read("test.yaml", []byte(text))
		if conflicts < 0 {
			if doc != nil {
				t.Errorf("%s was parsed", source)
			}
			continue
		}
		if got := doc.Conflicts(c); len(got) != conflicts || conflicts > 0 && (got[0].Line != 10 || !HasErrors(got)) {
			t.Errorf("%s: %v", source, got)
		}
	}
	root := mustParse(t, with("root: {dir: /srv/t}"))
	if got := root.Conflicts(c); len(got) != 6 {
		t.Errorf("root.dir: %v", got)
	}
}

// TestTimeLimitWithinTheLifeOfCredentialsIsNotWarnedOf, and one beyond it is.
func TestTimeLimitWithinTheLifeOfCredentialsIsNotWarnedOf(t *testing.T) {
	for lines, want := range map[string]string{
		"limits: {timeout: 10m}":       "",
		"limits: {timeout: 10m1s}":     "credentials[0].ttl",
		"limits: {timeout: unlimited}": "limits.timeout,credentials[0].ttl",
	} {
		p := mustParse(t, with(lines, "credentials: [{env: A, from: 'vault:a#b', ttl: 10m}]"))
		if got := strings.Join(keysOf(p.Review(reviewDay, false), SeverityWarning), ","); got != want {
			t.Errorf("%s: warned of %q, want %q", lines, got, want)
		}
	}
}

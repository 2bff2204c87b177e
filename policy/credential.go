package policy

import (
	"fmt"
	"strings"
)

// The providers of credentials.
const (
	// ProviderSystemd reads a file of $CREDENTIALS_DIRECTORY; the reference
	// is its name (systemd.exec(5), LoadCredential=).
	ProviderSystemd = "systemd"
	// ProviderExec runs a helper; the reference is its absolute path and its
	// arguments, split on blanks. No shell reads it.
	ProviderExec = "exec"
	// ProviderVault leases a secret; the reference is PATH#FIELD.
	ProviderVault = "vault"
	// ProviderStore reads creel's own encrypted file; the reference is the
	// name of a secret there.
	ProviderStore = "store"
)

// credentialSource is the two sides of the first colon of a credential's "from".
type credentialSource struct{ provider, reference string }

var providers = []struct {
	name  string
	check func(reference string) *fault
	form  string
	// leases says that the provider can take a value back, so that a ttl
	// means something.
	leases bool
}{
	{name: ProviderSystemd, check: systemdReference, form: "systemd:NAME"},
	{name: ProviderExec, check: execReference, form: "exec:HELPER ARG…"},
	{name: ProviderVault, check: vaultReference, form: "vault:PATH#FIELD", leases: true},
	{name: ProviderStore, check: storeReference, form: "store:NAME"},
}

var credentialFrom = scalar[credentialSource]{
	what: "a provider and a reference, such as vault:kv/github#token",
	parse: func(text string) (credentialSource, *fault) {
		var names, forms []string
		provider, reference, colon := strings.Cut(text, ":")
		for _, p := range providers {
			names, forms = append(names, p.name), append(forms, p.form)
			if colon && p.name == provider {
				return credentialSource{provider, reference}, p.check(reference)
			}
		}
		hint := "write " + enumerate(forms, "or")
		if !colon {
			// The text may be the secret itself, so no word of it is repeated.
			return credentialSource{}, faultf(hint+"; never the secret itself", "the provider is missing")
		}
		if near := didYouMean(provider, names); near != "" {
			hint = near
		}
		return credentialSource{}, faultf(hint, "there is no provider of this name")
	},
	format: func(s credentialSource) string { return s.provider + ":" + s.reference },
	shape:  schema{Pattern: `^(systemd|exec|vault|store):`},
}

// systemdReference follows credential_name_valid() of systemd: a file name
// of at most 255 printable ASCII characters without a colon.
func systemdReference(name string) *fault {
	valid := name != "" && name != "." && name != ".." && len(name) <= longestElement
	for _, c := range []byte(name) {
		valid = valid && c > ' ' && c < 0x7F && c != '/' && c != ':'
	}
	if !valid {
		return faultf("write systemd:NAME with the name of a LoadCredential= line of creeld's unit", "this is not the name of a systemd credential")
	}
	return nil
}

// writableByMany are directories where any user could put a helper, which
// creeld would then run with its own rights.
var writableByMany = []string{"/tmp", "/var/tmp", "/dev", "/proc", "/run/user"}

func execReference(command string) *fault {
	if strings.ContainsAny(command, "\t\n") {
		return faultf("separate the arguments by single blanks", "the helper's command has a tab or a line break in it")
	}
	words := strings.Fields(command)
	if len(words) == 0 || !strings.HasPrefix(words[0], "/") || words[0] == "/" {
		return faultf("write exec:/absolute/path ARG…; no shell and no PATH is searched", "the helper must be an absolute path")
	}
	if f := unclean(words[0]); f != nil {
		return f
	}
	for _, dir := range writableByMany {
		if within(words[0], dir) {
			return faultf("install it owned by root, such as in /usr/local/libexec", "the helper is in %s, where others can replace it", dir)
		}
	}
	return nil
}

var vaultText = matching(`^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*#[A-Za-z0-9_.-]+$`)

func vaultReference(reference string) *fault {
	valid := vaultText.MatchString(reference) && len(reference) <= 1024
	path, _, _ := strings.Cut(reference, "#")
	for _, name := range strings.Split(path, "/") {
		valid = valid && name != "." && name != ".."
	}
	if !valid {
		return faultf("write vault:PATH#FIELD, such as vault:kv/github#token", "this is not a path in a vault and a field of it")
	}
	return nil
}

var secretName = matching(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// CheckSecretName says why nothing in the store of secrets can have this name.
func CheckSecretName(name string) error {
	if !secretName.MatchString(name) {
		return fmt.Errorf("%.80q is no name of a secret: up to 64 letters, digits, dots, underscores and hyphens, the first a letter or a digit", name)
	}
	return nil
}

func storeReference(name string) *fault {
	if CheckSecretName(name) != nil {
		return faultf("write store:NAME with a name that `creel secret ls` lists", "this is not the name of a secret")
	}
	return nil
}

// leased reports whether a provider can take its values back.
func leased(provider string) bool {
	for _, p := range providers {
		if p.name == provider {
			return p.leases
		}
	}
	return false
}

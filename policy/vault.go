package policy

import (
	"strings"
	"time"
)

// Vault says where the vault is and who creeld is there. It holds no secret:
// those are in systemd credentials of creeld's unit.
type Vault struct {
	Address   string // URL of the server
	CAFile    string // certificates that the server's must lead to; "" for those of the host
	Namespace string // default none
	// Credential is the name of the systemd credential that holds a token, or
	// the secret ID of RoleID, or both IDs of a role as two lines.
	Credential string
	RoleID     string        // of AppRole; "" where the credential says it
	Login      string        // where AppRole is mounted; default approle
	Timeout    time.Duration // of all that one credential takes; default 5s
}

var vaultFields = table(func() []field[Vault] {
	return []field[Vault]{
		required("address", vaultAddress, func(v *Vault) *string { return &v.Address },
			"The URL of the Vault or OpenBao server; without TLS on the loopback only."),
		optional("caFile", sparse[string]{absolute("an absolute path on the host"), null}, "", func(v *Vault) *string { return &v.CAFile },
			"The certificates, in PEM, that the server's own must lead to; left out, those that the host trusts."),
		optional("namespace", sparse[string]{vaultPath("a namespace of the vault"), null}, "", func(v *Vault) *string { return &v.Namespace },
			"The namespace that all paths are in; left out, the root."),
		optional("credential", credentialName, "vault", func(v *Vault) *string { return &v.Credential },
			"The LoadCredential= of creeld's unit that holds a token, the secret ID of roleID, or both IDs as two lines."),
		optional("roleID", sparse[string]{vaultPath("the ID of a role"), null}, "", func(v *Vault) *string { return &v.RoleID },
			"The role to log in as by AppRole; left out, the credential holds a token or both IDs."),
		optional("login", vaultPath("where AppRole is mounted"), "approle", func(v *Vault) *string { return &v.Login },
			"Where AppRole is mounted, below auth/."),
		optional("timeout", duration(100*time.Millisecond, 30*time.Second), 5*time.Second, func(v *Vault) *time.Duration { return &v.Timeout },
			"How long a command waits for one credential."),
	}
})

var credentialName = scalar[string]{
	what: "the name of a systemd credential",
	parse: func(text string) (string, *fault) {
		if f := systemdReference(text); f != nil {
			return "", faultf("such as vault", "this is not the name of a LoadCredential= line")
		}
		return text, nil
	},
	format: show[string],
}

func vaultPath(what string) scalar[string] {
	return scalar[string]{
		what: what, pattern: matching(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`),
		hint: "such as team/production", parse: keep[string], format: show[string],
	}
}

// vaultAddress lets nothing but the loopback be reached in the clear, and has
// no room for a user, a path or a query.
var vaultAddress = scalar[string]{
	what: "the URL of a vault", hint: "such as https://vault.example.org:8200",
	pattern: matching(`^https?://([A-Za-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[0-9]{1,5})?$`),
	parse: func(text string) (string, *fault) {
		host, clear := strings.CutPrefix(text, "http://")
		if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
			host = host[:i]
		}
		if clear && host != "127.0.0.1" && host != "localhost" && host != "[::1]" {
			return "", faultf("write https://; creel reads no secret from another machine in the clear", "the address has no TLS")
		}
		return text, nil
	},
	format: show[string],
}

package policy

// Secrets says where creel's own store of secrets is, and its key. It holds no
// secret itself.
type Secrets struct {
	Dir string // "" for the directory secrets below stateDir
	Key SecretsKey
}

// SecretsKey says where the store's key is; one of the two is set.
type SecretsKey struct {
	File       string
	Credential string // the name of a systemd credential
}

var secretsFields = table(func() []field[Secrets] {
	return []field[Secrets]{
		optional("dir", sparse[string]{ownDirectory, null}, "", func(s *Secrets) *string { return &s.Dir },
			"The directory of the encrypted file, which creel makes; left out, secrets below stateDir."),
		optional("key", secretsKeyFields, SecretsKey{Credential: "secrets"}, func(s *Secrets) *SecretsKey { return &s.Key },
			"Where the key of the file is: not where the file is, or a copy of both opens it."),
	}
})

var secretsKeyFields = choice(func() []field[SecretsKey] {
	return []field[SecretsKey]{
		optional("credential", sparse[string]{credentialName, nothing}, "", func(k *SecretsKey) *string { return &k.Credential },
			"The LoadCredential= or LoadCredentialEncrypted= of creeld's unit that holds it."),
		optional("file", sparse[string]{absolute("an absolute path on the host"), nothing}, "", func(k *SecretsKey) *string { return &k.File },
			"A file of root's, with mode 0400 or 0600, in directories that only root can change."),
	}
})

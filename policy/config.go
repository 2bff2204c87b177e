package policy

import "slices"

// DefaultPolicyDir is where policies are read from when creel.yaml names no
// other place.
const DefaultPolicyDir = "/etc/creel/policies"

// configFile is the schema of creel.yaml, in the same form as policyFile.
var configFile = table(func() []field[Config] {
	return []field[Config]{
		optional("runtimeDir", ownDirectory, "/run/creel", func(c *Config) *string { return &c.RuntimeDir },
			"Where the sockets and the state are."),
		optional("policyDir", ownDirectory, DefaultPolicyDir, func(c *Config) *string { return &c.PolicyDir },
			"Where the policies are read from."),
		optional("auditDir", ownDirectory, "/var/log/creel", func(c *Config) *string { return &c.AuditDir },
			"Where the receipts are written."),
		optional("imageDir", ownDirectory, "/var/lib/creel/images", func(c *Config) *string { return &c.ImageDir },
			"Where the images of the oci engine are unpacked."),
		optional("engine", oneOf(EngineOCI, EngineDocker), EngineOCI, func(c *Config) *Engine { return &c.Engine },
			"What makes the containers of policies that do not say."),
		optional("runtime", sparse[string]{oneOf("crun", "runc"), null}, "", func(c *Config) *string { return &c.Runtime },
			"The OCI runtime; left out, the first of crun and runc that is installed."),
		optional("dockerSocket", absolute("an absolute path on the host"), "/run/docker.sock", func(c *Config) *string { return &c.DockerSocket },
			"The socket of the Docker daemon, for the docker engine."),
		optional("initPath", ownDirectory, "/usr/lib/creel/creel-init", func(c *Config) *string { return &c.InitPath },
			"The creel-init program that runs in every sandbox."),
		optional("strict", boolean, false, func(c *Config) *bool { return &c.Strict },
			"Whether what a review would warn of refuses the policy."),
		optional("admins", list[string]{what: "a list of user names", item: caller, max: 256}, nil, func(c *Config) *[]string { return &c.Admins },
			"Who may list, inspect and kill, besides root: user names or decimal user ids."),
		optional("group", groupName, "creel", func(c *Config) *string { return &c.Group },
			"The group that may connect to exec.sock."),
		optional("stateDir", ownDirectory, "/var/lib/creel", func(c *Config) *string { return &c.StateDir },
			"What must outlive creeld: the names of leases that are still to be revoked."),
		optional("tokenSocket", nullable[TokenSocket]{tokenSocketFields}, nil, func(c *Config) **TokenSocket { return &c.TokenSocket },
			"A socket for callers whose user proves nothing, and who show an API token; left out, there is none."),
		optional("vault", nullable[Vault]{vaultFields}, nil, func(c *Config) **Vault { return &c.Vault },
			"The vault of the policies' vault: credentials; left out, there is none."),
		optional("secrets", secretsFields, secretsFields.defaults(), func(c *Config) *Secrets { return &c.Secrets },
			"Where the policies' store: credentials are, and their key."),
	}
})

var ownDirectory = absolute("an absolute path on the host", func(text string) *fault {
	ofKernel := func(dir string) bool { return within(text, dir) }
	if text == "/" || slices.ContainsFunc([]string{"/proc", "/sys", "/dev"}, ofKernel) {
		return faultf("give creel a place of its own, such as /run/creel", "creel cannot keep its files in %s", text)
	}
	return nil
})

// DefaultConfig is the configuration of an empty creel.yaml.
func DefaultConfig() *Config {
	c := configFile.defaults()
	return &c
}

// ParseConfig turns the bytes of creel.yaml into a configuration or into
// everything that is wrong with it: never both. An empty file means the
// defaults.
func ParseConfig(file string, data []byte) (*Config, []Problem) {
	d := newDecoder(file)
	c, ok := readRoot(d, data, configFile, true)
	if ok {
		reportRepeats("admins", c.Admins, d.problem)
	}
	if problems := d.finish(); len(problems) > 0 {
		return nil, problems
	}
	return &c, nil
}

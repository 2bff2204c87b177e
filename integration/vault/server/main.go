// Command server is a Vault server that keeps everything in memory, for tests:
// neither initialised nor unsealed when it starts, with the engines kv and
// database, the login methods AppRole and token, PostgreSQL, and an audit in
// files. The first line it prints is its address.
//
// It may import what it needs of Vault, being a module of its own: nothing of
// it is linked into or shipped with creel. It writes to no disk but the audit
// that it is told to.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/database"
	"github.com/hashicorp/vault/helper/metricsutil"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	cert := flag.String("cert", "", "certificate for TLS, in PEM")
	key := flag.String("key", "", "its key")
	flag.Parse()
	if err := serve(*listen, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, "vault server: error:", err)
		os.Exit(1)
	}
}

func serve(listen, cert, key string) error {
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, log)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical: storage, Logger: log, DisableMlock: true, BuiltinRegistry: builtins{},
		LogicalBackends:    secretEngines,
		CredentialBackends: loginMethods,
		AuditBackends:      map[string]audit.Factory{"file": audit.NewFileBackend},
		MetricSink:         metricsutil.BlackholeSink(),
	})
	if err != nil {
		return fmt.Errorf("make core: %w", err)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core: core, ListenerConfig: &configutil.Listener{},
	})}
	if cert != "" {
		return server.ServeTLS(listener, cert, key)
	}
	return server.Serve(listener)
}

var (
	secretEngines = map[string]logical.Factory{"kv": kv.Factory, "database": database.Factory}
	loginMethods  = map[string]logical.Factory{"approle": approle.Factory}
)

// builtins is the catalog of plugins that a mount is looked up in.
type builtins struct{}

func (builtins) Get(name string, kind consts.PluginType) (func() (any, error), bool) {
	var found any
	switch kind {
	case consts.PluginTypeSecrets:
		if factory, ok := secretEngines[name]; ok {
			found = factory
		}
	case consts.PluginTypeCredential:
		if factory, ok := loginMethods[name]; ok {
			found = factory
		}
	case consts.PluginTypeDatabase:
		if name == "postgresql-database-plugin" {
			return postgresql.New, true
		}
	}
	return func() (any, error) { return found, nil }, found != nil
}

func (b builtins) Contains(name string, kind consts.PluginType) bool {
	_, ok := b.Get(name, kind)
	return ok
}

func (builtins) Keys(kind consts.PluginType) []string {
	switch kind {
	case consts.PluginTypeSecrets:
		return []string{"kv", "database"}
	case consts.PluginTypeCredential:
		return []string{"approle"}
	case consts.PluginTypeDatabase:
		return []string{"postgresql-database-plugin"}
	}
	return nil
}

func (builtins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func (builtins) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

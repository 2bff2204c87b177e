package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/store"
	"github.com/creel-sandbox/creel/runner/credential/vault"
	"github.com/creel-sandbox/creel/runner/host"
	"github.com/creel-sandbox/creel/runner/lease"
	"github.com/creel-sandbox/creel/runner/privatefile"
)

// revokeTimeout bounds how long a stop waits for leases to be revoked; the
// next start revokes the rest.
const revokeTimeout = 10 * time.Second

// openCredentials makes the providers that a policy's "from" can name, and the
// book of what they lease.
func (d *daemon) openCredentials(cfg *policy.Config, systemd *credential.Systemd, secrets *store.Store) (*credential.Resolver, *lease.Book, error) {
	helper, err := credential.NewExec()
	if err != nil {
		return nil, nil, err
	}
	providers := map[string]credential.Provider{policy.ProviderSystemd: systemd, policy.ProviderExec: helper, policy.ProviderStore: secrets}
	revokers := map[string]credential.Revoker{}
	var book *lease.Book
	dir := ""
	if cfg.Vault != nil {
		dir = filepath.Join(cfg.StateDir, "leases")
		if err := d.lockState(dir); err != nil { // another supervisor would revoke what this one's sandboxes use
			return nil, nil, err
		}
		// The vault is asked for nothing before the book is open.
		late := func(l credential.Lease) { book.Discard(policy.ProviderVault, l) }
		loggedIn := func(l credential.Lease) { book.Remember(policy.ProviderVault, l) }
		v, err := openVault(cfg.Vault, systemd, late, loggedIn)
		if err != nil {
			return nil, nil, err
		}
		providers[policy.ProviderVault], revokers[policy.ProviderVault] = v, v
	}
	if book, err = lease.Open(dir, revokers, d.log); err != nil {
		return nil, nil, err
	}
	book.Recover()
	d.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), revokeTimeout)
		defer cancel()
		return book.Close(ctx)
	})
	return credential.New(providers), book, nil
}

// openSecrets is the store of secrets, which is made by its first one.
func openSecrets(cfg *policy.Config, systemd *credential.Systemd) *store.Store {
	return store.New(store.Config{
		Dir: cmp.Or(cfg.Secrets.Dir, filepath.Join(cfg.StateDir, "secrets")),
		Key: func() (credential.Secret, error) {
			if file := cfg.Secrets.Key.File; file != "" {
				return credential.ReadFile(file)
			}
			secret, err := systemd.Read(cfg.Secrets.Key.Credential)
			if err != nil {
				return credential.Secret{}, fmt.Errorf("read systemd credential %s: %w", cfg.Secrets.Key.Credential, err)
			}
			return secret, nil
		},
	})
}

// lockState takes a directory of what outlives creeld, for this one alone.
func (d *daemon) lockState(dir string) error {
	made, err := privatefile.Make(dir) // before the lock of whoever owns it is waited for
	if err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	made.Close()
	lock, err := host.Lock(dir, lockWait)
	if err != nil {
		return err
	}
	d.onClose(lock.Close)
	return nil
}

func openVault(cfg *policy.Vault, systemd *credential.Systemd, late, loggedIn func(credential.Lease)) (*vault.Provider, error) {
	return vault.New(vault.Config{
		Address: cfg.Address, CAFile: cfg.CAFile, Namespace: cfg.Namespace, RoleID: cfg.RoleID, Login: cfg.Login,
		Timeout: cfg.Timeout, Late: late, LoggedIn: loggedIn,
		Credential: func() (credential.Secret, error) {
			secret, err := systemd.Read(cfg.Credential)
			if err != nil {
				return credential.Secret{}, fmt.Errorf("read systemd credential %s: %w", cfg.Credential, err)
			}
			return secret, nil
		},
	})
}

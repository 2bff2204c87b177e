package main

import (
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/creel-sandbox/creel/runner/credential/store"
)

// printNewKey writes a key for the store of secrets to standard output. It is
// creeld's to do, so that creel links nothing that could hold a key.
func printNewKey() error {
	if term.IsTerminal(int(os.Stdout.Fd())) {
		return fmt.Errorf("print key: standard output is a terminal, which keeps what it shows; " +
			"write it to `systemd-creds encrypt --name=secrets - FILE` or, with umask 077, to a file")
	}
	key, err := store.NewKey()
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(key); err != nil {
		return fmt.Errorf("print key: %w", err)
	}
	return nil
}

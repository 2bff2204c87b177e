package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/token"
)

// openTokens opens the book of API tokens, where creel.yaml asks for a socket
// for those who have one.
func (d *daemon) openTokens(cfg *policy.Config) (*token.Book, error) {
	if cfg.TokenSocket == nil {
		return nil, nil
	}
	dir := filepath.Join(cfg.StateDir, "tokens")
	if err := d.lockState(dir); err != nil { // another supervisor would go on taking what is revoked here
		return nil, err
	}
	book, err := token.Open(token.Config{Dir: dir, Log: d.log})
	if err != nil {
		return nil, err
	}
	d.onClose(book.Close)
	return book, nil
}

// openTokenSocket makes the socket for callers with a token, in a directory of
// its own, so that a container can be given it and nothing else. It outlives
// this process where the runtime directory does: what is mounted stays good.
func openTokenSocket(cfg *policy.Config) (net.Listener, error) {
	if cfg.TokenSocket == nil {
		return nil, nil
	}
	path := filepath.Join(cfg.RuntimeDir, api.TokenSocketName)
	if err := os.Mkdir(filepath.Dir(path), 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make directory of %s: %w", api.TokenSocketName, err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o711); err != nil {
		return nil, fmt.Errorf("open directory of %s to be passed: %w", api.TokenSocketName, err)
	}
	if cfg.TokenSocket.Everyone {
		return listen(path, 0, 0o666)
	}
	gid, err := tokenGroup(cfg.TokenSocket.Group)
	if err != nil {
		return nil, err
	}
	return listen(path, gid, 0o660)
}

// tokenGroup is a group by its name, or by the id of one that may have none
// here. A name that is no group is an error: nobody could connect.
func tokenGroup(name string) (int, error) {
	if gid, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(gid), nil
	}
	group, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("find group of tokenSocket: %w; make it with groupadd --system %s", err, name)
	}
	return strconv.Atoi(group.Gid)
}

package client

import (
	"context"
	"fmt"
	"os"

	"github.com/creel-sandbox/creel/runner/api"
)

// SetSecret adds a secret to the supervisor's store. The value goes through a
// pipe of its own, and so into no message.
func (c *Client) SetSecret(ctx context.Context, name string, value []byte) (*api.SecretsReply, error) {
	return c.giveSecret(ctx, api.RouteSecretSet, name, value)
}

// RotateSecret gives a secret another value.
func (c *Client) RotateSecret(ctx context.Context, name string, value []byte) (*api.SecretsReply, error) {
	return c.giveSecret(ctx, api.RouteSecretRotate, name, value)
}

// RemoveSecrets removes all of them or none.
func (c *Client) RemoveSecrets(ctx context.Context, names []string) (*api.SecretsReply, error) {
	return ask[api.SecretsReply](ctx, c.adminSocket(), api.RouteSecretRemove, api.SecretsRequest{Names: names})
}

// Secrets lists the names and ages of secrets.
func (c *Client) Secrets(ctx context.Context) (*api.SecretsReply, error) {
	return ask[api.SecretsReply](ctx, c.adminSocket(), api.RouteSecretList, nil)
}

func (c *Client) giveSecret(ctx context.Context, route, name string, value []byte) (*api.SecretsReply, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	// Both ends end with this call, and with them a write that nobody reads.
	defer read.Close()
	defer write.Close()
	go func() {
		// Whoever does not read it to its end says why in the reply.
		_, _ = write.Write(value)
		write.Close()
	}()
	return ask[api.SecretsReply](ctx, c.adminSocket(), route, api.SecretRequest{Name: name}, int(read.Fd()))
}

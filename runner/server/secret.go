package server

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// SecretKeeper is a Backend that has a store of secrets.
type SecretKeeper interface {
	// SetSecret adds a secret, and RotateSecret gives one another value. They
	// own value, a pipe, which they read to its end without waiting for long.
	SetSecret(ctx context.Context, name string, value *os.File) (*api.SecretsReply, error)
	RotateSecret(ctx context.Context, name string, value *os.File) (*api.SecretsReply, error)
	RemoveSecrets(ctx context.Context, names []string) (*api.SecretsReply, error)
	Secrets(ctx context.Context) (*api.SecretsReply, error)
}

func (c *call) secretKeeper() (SecretKeeper, error) {
	keeper, ok := c.server.options.Backend.(SecretKeeper)
	if !ok {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: "this supervisor keeps no secrets"}
	}
	return keeper, nil
}

func secrets(ctx context.Context, c *call, _ *none) (*api.SecretsReply, error) {
	keeper, err := c.secretKeeper()
	if err != nil {
		return nil, err
	}
	return keeper.Secrets(ctx)
}

func removeSecrets(ctx context.Context, c *call, body *api.SecretsRequest) (*api.SecretsReply, error) {
	keeper, err := c.secretKeeper()
	if err != nil {
		return nil, err
	}
	if len(body.Names) == 0 {
		return nil, api.BadRequest("`creel secret ls` lists the names", "rm takes names of secrets")
	}
	return keeper.RemoveSecrets(ctx, body.Names)
}

func serveSetSecret(ctx context.Context, c *call, request *api.Request, files []*os.File) error {
	return c.giveSecret(ctx, request, files[0], SecretKeeper.SetSecret)
}

func serveRotateSecret(ctx context.Context, c *call, request *api.Request, files []*os.File) error {
	return c.giveSecret(ctx, request, files[0], SecretKeeper.RotateSecret)
}

// giveSecret owns value until the backend does.
func (c *call) giveSecret(ctx context.Context, request *api.Request, value *os.File,
	give func(SecretKeeper, context.Context, string, *os.File) (*api.SecretsReply, error)) error {
	var body api.SecretRequest
	keeper, err := c.secretKeeper()
	if err == nil {
		err = decodeBody(request, &body)
	}
	if err == nil {
		err = checkPipe("the value", value, unix.O_RDONLY)
	}
	if err != nil {
		value.Close()
		return err
	}
	reply, err := give(keeper, ctx, body.Name, value)
	if err != nil {
		return err
	}
	return c.reply(reply)
}

// checkPipe refuses everything but an anonymous pipe, of the right direction: a
// file would have held the value on a disk, or be one that only root can use.
func checkPipe(what string, file *os.File, mode int) error {
	problem, err := pipeProblem(file, mode)
	if err != nil {
		return fmt.Errorf("check %s: %w", what, err)
	}
	if problem != "" {
		return api.BadRequest("a client makes its own pipe with pipe(2); creel does", "%s %s", what, problem)
	}
	return nil
}

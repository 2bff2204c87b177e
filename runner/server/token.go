package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// ErrTokenEnded says that the caller's token was revoked or replaced, or has
// expired.
var ErrTokenEnded = errors.New("the caller's token has ended")

// noID is the number that means no user and no group (chown(2)): that of a
// Peer on the token socket, where the kernel's word proves nothing. No policy
// and no configuration can name it.
const noID = 1<<32 - 1

// Holder is who has shown a token.
type Holder struct {
	Name string
	// Policies are those that the token is for; each must name it too. Senders
	// and Channels are for whom and from where; none: that is not asked.
	Policies, Senders, Channels []string
	// Ended is done as soon as the token is over.
	Ended context.Context
}

// TokenKeeper is a Backend that knows callers by their tokens.
type TokenKeeper interface {
	// UseToken gives who holds a token, which stays the caller's. An
	// *api.Error is told to whoever has shown it; any other error is that it
	// is none, and is not told.
	UseToken(ctx context.Context, token []byte) (*Holder, error)
	// CreateToken and RotateToken own token, the write end of a pipe, to which
	// they write without waiting.
	CreateToken(ctx context.Context, req *api.TokenRequest, token *os.File) (*api.TokensReply, error)
	RotateToken(ctx context.Context, req *api.TokenRequest, token *os.File) (*api.TokensReply, error)
	RevokeTokens(ctx context.Context, names []string) (*api.TokensReply, error)
	Tokens(ctx context.Context) (*api.TokensReply, error)
	// PsOf and KillOf are Ps and Kill for one holder, of whose own sandboxes
	// alone they tell.
	PsOf(ctx context.Context, holder *Holder, all bool) (*api.PsReply, error)
	KillOf(ctx context.Context, holder *Holder, req *api.KillRequest) (*api.KillReply, error)
}

func (c *call) tokenKeeper() (TokenKeeper, error) {
	keeper, ok := c.server.options.Backend.(TokenKeeper)
	if !ok {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: "this supervisor keeps no tokens"}
	}
	return keeper, nil
}

var (
	errNoToken = &api.Error{Code: api.CodeDenied, ExitCode: api.ExitFailed,
		Message: "this socket is for callers with a token, and none came",
		Hint:    "CREEL_TOKEN_FILE names the file that holds it"}
	errBadToken = &api.Error{Code: api.CodeDenied, ExitCode: api.ExitFailed,
		Message: "the token is none that is in force here",
		Hint:    "it may have been revoked or replaced; `sudo creel token ls` on the host lists those there are"}
	errStrayToken = api.BadRequest("unset CREEL_TOKEN_FILE, or point CREEL_SOCKET to "+api.TokenSocketName+" of the supervisor's runtimeDir",
		"this socket takes no token: here the kernel says who calls")
)

// authenticate makes the peer of a connection who its token says it is, and
// gives a context that ends with the token. On the token socket nothing else
// says who calls, and elsewhere no token does.
func (c *call) authenticate(ctx context.Context, request *api.Request) (_ context.Context, stop func(), err error) {
	defer clear(request.Token)
	switch {
	case c.socket != tokenSocket && request.Token != nil:
		return nil, nil, errStrayToken
	case c.socket != tokenSocket:
		return ctx, func() {}, nil
	case len(request.Token) == 0:
		return nil, nil, errNoToken
	}
	keeper, err := c.tokenKeeper()
	if err != nil {
		return nil, nil, err
	}
	holder, err := keeper.UseToken(ctx, request.Token)
	if err != nil {
		return nil, nil, c.refuseToken(ctx, err)
	}
	c.peer.Holder = holder
	ctx, cancel := context.WithCancelCause(ctx)
	release := context.AfterFunc(holder.Ended, func() { cancel(ErrTokenEnded) })
	return ctx, func() { release(); cancel(context.Canceled) }, nil
}

// refuseToken answers a token that is not good after a pause, and only then: as
// many can be tried in that time as one uid can have connections. Whoever waits
// like that is the first to make room for another.
func (c *call) refuseToken(ctx context.Context, err error) error {
	if more, _, log := c.server.refusals.Note(time.Now()); log {
		c.server.options.Log("refused a token on the token socket, from a process of uid %d (%d before it not logged)", c.uid, more)
	}
	c.seats.rest(c, c.seats.idle.PushFront)
	select {
	case <-time.After(c.server.options.TokenPause):
	case <-ctx.Done():
		return errClosing
	}
	var told *api.Error
	if errors.As(err, &told) {
		return told
	}
	return errBadToken
}

// deniedToHolders refuses what no token is for.
func deniedToHolders(route string) *api.Error {
	return &api.Error{Code: api.CodeDenied, ExitCode: api.ExitFailed,
		Message: fmt.Sprintf("no token is for %q: one runs commands, and lists and ends its own", route),
		Hint:    "unset CREEL_TOKEN_FILE where the kernel says who calls"}
}

func tokens(ctx context.Context, c *call, _ *none) (*api.TokensReply, error) {
	keeper, err := c.tokenKeeper()
	if err != nil {
		return nil, err
	}
	return keeper.Tokens(ctx)
}

func revokeTokens(ctx context.Context, c *call, body *api.TokensRequest) (*api.TokensReply, error) {
	keeper, err := c.tokenKeeper()
	if err != nil {
		return nil, err
	}
	if len(body.Names) == 0 {
		return nil, api.BadRequest("`creel token ls` lists the names", "revoke takes names of tokens")
	}
	return keeper.RevokeTokens(ctx, body.Names)
}

func serveCreateToken(ctx context.Context, c *call, request *api.Request, files []*os.File) error {
	return c.giveToken(ctx, request, files[0], TokenKeeper.CreateToken)
}

func serveRotateToken(ctx context.Context, c *call, request *api.Request, files []*os.File) error {
	return c.giveToken(ctx, request, files[0], TokenKeeper.RotateToken)
}

// giveToken owns token until the backend does.
func (c *call) giveToken(ctx context.Context, request *api.Request, token *os.File,
	give func(TokenKeeper, context.Context, *api.TokenRequest, *os.File) (*api.TokensReply, error)) error {
	var body api.TokenRequest
	keeper, err := c.tokenKeeper()
	if err == nil {
		err = decodeBody(request, &body)
	}
	if err == nil {
		err = checkPipe("where the token goes", token, unix.O_WRONLY)
	}
	if err != nil {
		token.Close()
		return err
	}
	reply, err := give(keeper, ctx, &body, token)
	if err != nil {
		return err
	}
	return c.reply(reply)
}

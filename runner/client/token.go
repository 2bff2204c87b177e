package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/dump"
	"github.com/creel-sandbox/creel/runner/token/text"
)

// TokenFileVariable names the file that a token is read from. There is no
// variable that holds one: an environment is handed to every process that is
// started, and shown in /proc.
const TokenFileVariable = "CREEL_TOKEN_FILE"

// CreateToken makes the token of an integration, and gives its text, which
// nobody can ask for again. It is for root.
func (c *Client) CreateToken(ctx context.Context, req api.TokenRequest) ([]byte, *api.TokensReply, error) {
	return c.takeToken(ctx, api.RouteTokenCreate, req)
}

// RotateToken gives an integration another token; the one that it had ends.
func (c *Client) RotateToken(ctx context.Context, req api.TokenRequest) ([]byte, *api.TokensReply, error) {
	return c.takeToken(ctx, api.RouteTokenRotate, req)
}

// RevokeTokens ends all of them or none.
func (c *Client) RevokeTokens(ctx context.Context, names []string) (*api.TokensReply, error) {
	return ask[api.TokensReply](ctx, c.adminSocket(), api.RouteTokenRevoke, api.TokensRequest{Names: names})
}

// Tokens lists the names of tokens, and what each is for.
func (c *Client) Tokens(ctx context.Context) (*api.TokensReply, error) {
	return ask[api.TokensReply](ctx, c.adminSocket(), api.RouteTokenList, nil)
}

// takeToken has a token written into a pipe, and so into no message.
func (c *Client) takeToken(ctx context.Context, route string, req api.TokenRequest) ([]byte, *api.TokensReply, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make pipe: %w", err)
	}
	defer read.Close()
	reply, err := ask[api.TokensReply](ctx, c.adminSocket(), route, req, int(write.Fd()))
	write.Close()
	if err != nil {
		return nil, nil, err
	}
	token := make([]byte, text.Length)
	if _, err := io.ReadFull(read, token); err != nil || !text.Valid(token) {
		clear(token)
		return nil, nil, errMalformed(errors.New("no whole token came"))
	}
	return token, reply, nil
}

// readToken reads the file that holds a token, one that its owner alone can
// read. From then on this process is in no core file, and shown to no other of
// its user.
func readToken(path string) ([]byte, error) {
	if err := dump.Forbid(); err != nil {
		return nil, err
	}
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, tokenFileError("make it with `creel token create`, as root", "read token: %v", err)
	}
	defer file.Close()
	if err := checkTokenFile(file); err != nil {
		return nil, err
	}
	data := make([]byte, text.Length+2) // a newline, and one byte too many
	n, err := io.ReadFull(file, data)
	token := bytes.TrimSuffix(data[:n], []byte("\n"))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) || !text.Valid(token) {
		clear(data)
		return nil, tokenFileError(fmt.Sprintf("a token is %d characters that begin with %s; `creel token rotate NAME`, as root, makes another", text.Length, text.Prefix),
			"%s does not hold a whole token and nothing else", path)
	}
	return token, nil
}

// checkTokenFile wants a file of this user's, or root's, that no other can read.
// systemd gives a service's user an ACL, which shows as the right of the file's
// group, root's (systemd.exec(5), LoadCredential=).
func checkTokenFile(file *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return tokenFileError("", "stat %s: %v", file.Name(), err)
	}
	mode := st.Mode & 0o777
	private := mode&0o077 == 0 || mode&0o037 == 0 && st.Uid == 0 && st.Gid == 0
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return tokenFileError("name the file that holds the token", "%s is not a regular file", file.Name())
	case st.Uid != 0 && st.Uid != uint32(os.Geteuid()):
		return tokenFileError("chown it to the user that calls creel", "%s belongs to uid %d, who can read the token and change it", file.Name(), st.Uid)
	case !private:
		return tokenFileError("chmod 0600 it, and have the token replaced: `creel token rotate NAME`, as root", "%s has mode %04o: others may have read the token", file.Name(), mode)
	}
	return nil
}

func tokenFileError(hint, format string, args ...any) *api.Error {
	return &api.Error{Code: api.CodeBadRequest, Message: fmt.Sprintf(format, args...), Hint: hint, ExitCode: api.ExitFailed}
}

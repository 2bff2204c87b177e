package client_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// holder is a client with a token for a server of its own, and the file that
// the token is in.
func holder(t *testing.T) (c *client.Client, file string) {
	t.Helper()
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, TokenPause: time.Millisecond})
	admin := &client.Client{ExecSocket: sockets.Exec, AdminSocket: sockets.Admin}
	token, reply, err := admin.CreateToken(t.Context(), api.TokenRequest{Name: "ci", Policies: []string{api.DefaultPolicy}, Life: time.Hour})
	if err != nil || len(reply.Tokens) != 1 || reply.Tokens[0].Name != "ci" {
		t.Fatalf("%+v, %v", reply, err)
	}
	file = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, append(token, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return &client.Client{ExecSocket: sockets.Token, AdminSocket: sockets.Admin, TokenFile: file}, file
}

func TestClientShowsTheTokenOfItsFile(t *testing.T) {
	c, _ := holder(t)
	var stdout bytes.Buffer
	if _, err := c.Exec(t.Context(), &client.Exec{Request: shell("echo it ran"), Stdout: &stdout}); err != nil || stdout.String() != "it ran\n" {
		t.Fatalf("%q, %v", &stdout, err)
	}
	// What is asked of the admin socket otherwise is asked with the token too.
	if reply, err := c.Ps(t.Context(), false); err != nil || len(reply.Sandboxes) != 0 {
		t.Errorf("ps: %+v, %v", reply, err)
	}
	var told *api.Error
	if _, err := c.Doctor(t.Context()); !errors.As(err, &told) || told.Code != api.CodeDenied {
		t.Errorf("doctor: %v", err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		t.Errorf("a process that holds a token can be dumped: %d, %v", n, err)
	}
}

func TestVariableNamesTheFileAndNeverHoldsTheToken(t *testing.T) {
	for env, want := range map[string]client.Client{
		"":                           {ExecSocket: "/run/creel/exec.sock", AdminSocket: "/run/creel/admin.sock"},
		"CREEL_TOKEN_FILE=/etc/t":    {ExecSocket: "/run/creel/token/token.sock", AdminSocket: "/run/creel/admin.sock", TokenFile: "/etc/t"},
		"CREEL_TOKEN=creel_aaaa":     {ExecSocket: "/run/creel/exec.sock", AdminSocket: "/run/creel/admin.sock"},
		"CREEL_SOCKET=/srv/token.so": {ExecSocket: "/srv/token.so", AdminSocket: "/run/creel/admin.sock"},
	} {
		name, value, _ := strings.Cut(env, "=")
		got := client.New(func(asked string) string {
			if asked == name {
				return value
			}
			return ""
		})
		if *got != want {
			t.Errorf("%s: %+v", env, *got)
		}
	}
}

func TestTokenFileThatOthersCanReadIsRefused(t *testing.T) {
	c, file := holder(t)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(whole))
	write := func(text string) func() error { return func() error { return os.WriteFile(file, []byte(text), 0o600) } }
	for name, test := range map[string]struct {
		spoil func() error
		words string // empty: it is not refused
	}{
		"as it is":          {func() error { return nil }, ""},
		"no newline":        {write(token), ""},
		"mode 0400":         {func() error { return os.Chmod(file, 0o400) }, ""},
		"an ACL of systemd": {func() error { return os.Chmod(file, 0o440) }, ""},
		"mode 0644":         {func() error { return os.Chmod(file, 0o644) }, "mode 0644"},
		"mode 0460":         {func() error { return os.Chmod(file, 0o460) }, "mode 0460"},
		"group's":           {func() error { return errors.Join(os.Chown(file, 0, 7), os.Chmod(file, 0o640)) }, "mode 0640"},
		"another's":         {func() error { return os.Chown(file, stranger, 0) }, "uid 64123"},
		"missing":           {func() error { return os.Remove(file) }, "no such file"},
		"a FIFO":            {func() error { return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o600)) }, "regular file"},
		"a directory":       {func() error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, "regular file"},
		"empty":             {write(""), "whole token"},
		"truncated":         {write(token[:len(token)-1] + "\n"), "whole token"},
		"two of them":       {write(token + "\n" + token + "\n"), "whole token"},
		"a typo":            {write(token[:20] + string(token[20]^1) + token[21:]), "whole token"},
		"something else":    {write("NAME=" + token), "whole token"},
	} {
		os.RemoveAll(file)
		if err := errors.Join(os.WriteFile(file, whole, 0o600), test.spoil()); err != nil {
			t.Fatal(err)
		}
		_, err := c.Version(t.Context())
		if test.words == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var told *api.Error
		if !errors.As(err, &told) || !strings.Contains(told.Message, test.words) || told.Hint == "" || told.ExitCode != api.ExitFailed {
			t.Errorf("%s: %+v", name, err)
		} else if strings.Contains(told.Message+told.Hint, token[6:20]) {
			t.Errorf("%s: the error holds the token", name)
		}
	}
}

// stranger is a uid that has no account.
const stranger = 64123

func TestRevokedTokenIsRefusedAgainAndAgain(t *testing.T) {
	c, _ := holder(t)
	if _, err := c.Version(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := &client.Client{ExecSocket: c.ExecSocket, AdminSocket: c.AdminSocket}
	if reply, err := admin.Tokens(t.Context()); err != nil || len(reply.Tokens) != 1 {
		t.Fatalf("%+v, %v", reply, err)
	}
	if _, err := admin.RevokeTokens(t.Context(), []string{"ci"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var told *api.Error
		if _, err := c.Version(t.Context()); !errors.As(err, &told) || told.Code != api.CodeDenied {
			t.Errorf("a revoked token: %v", err)
		}
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// lost is the end of a connection on which the supervisor still owed an
// answer.
var lost = api.Error{
	Code:     api.CodeLost,
	Message:  "the supervisor closed the connection without an answer",
	Hint:     "it may have been stopped or restarted: see `journalctl -u creeld`",
	ExitCode: api.ExitFailed,
}

func errLost() *api.Error { e := lost; return &e }

func errUnexpected(event string) *api.Error {
	return errMalformed(fmt.Errorf("unexpected event %.40q", event))
}

func errMalformed(err error) *api.Error {
	return &api.Error{
		Code:     api.CodeInternal,
		Message:  fmt.Sprintf("the supervisor's answer cannot be understood: %v", err),
		Hint:     "creel and creeld must be of the same version: creel version",
		ExitCode: api.ExitFailed,
	}
}

func receiveError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) {
		return errLost()
	}
	return errMalformed(err)
}

// sendError explains a request that could not be sent. A supervisor that
// refuses a connection answers before it reads, so the reason may be there.
func sendError(ctx context.Context, conn *api.Conn, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, api.ErrTooLarge) {
		return &api.Error{
			Code:     api.CodeBadRequest,
			Message:  err.Error(),
			Hint:     "pass large data on stdin: creel exec -i",
			ExitCode: api.ExitFailed,
		}
	}
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		if _, answer := receive(ctx, conn); answer != nil {
			return answer
		}
		return errLost()
	}
	return fmt.Errorf("ask supervisor: %w", err)
}

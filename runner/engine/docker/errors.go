package docker

import (
	"errors"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/engine"
)

// answers tell the kinds of error that the daemon itself gave: the client
// makes them of the status codes of HTTP.
var answers = []func(error) bool{
	errdefs.IsNotFound, errdefs.IsConflict, errdefs.IsInvalidArgument, errdefs.IsNotModified,
	errdefs.IsUnauthorized, errdefs.IsPermissionDenied, errdefs.IsInternal, errdefs.IsNotImplemented,
	errdefs.IsUnavailable, errdefs.IsUnknown,
}

// answered says whether the daemon gave this error; otherwise there was no
// answer, and what was asked may have been done all the same.
func answered(err error) bool {
	if errors.Is(err, engine.ErrRefused) {
		return true
	}
	for _, is := range answers {
		if is(err) {
			return true
		}
	}
	return false
}

// unsent says that a call never reached the daemon.
func unsent(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES)
}

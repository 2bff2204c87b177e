package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/creel-sandbox/creel/runner/registers"
)

var (
	errNothing = errors.New("there is nothing at this path")
	errDenied  = errors.New("the vault denies it to creeld (status 403)")
)

// words are what a server may be quoted with: Vault's own, fixed texts.
var words = []string{
	"permission denied", "Vault is sealed", "invalid token", "no handler for route", "unsupported path", "unsupported operation",
	"unknown role", "invalid role or secret ID", "invalid role ID", "invalid secret id", "missing client token", "lease is not renewable",
	"request path is not supported", "namespace not found", "Namespace is sealed", "API access to this namespace has been locked", "internal error", "local node not active", "error performing token check",
}

// explain makes an error of a request one that can be shown: without a word
// that could be a value, and without a URL, whose path the caller knows.
func explain(ctx context.Context, err error) error {
	var refused *api.ResponseError
	if errors.As(err, &refused) {
		return status(refused)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var redirect *redirectError
	var certificate *tls.CertificateVerificationError
	var invalid x509.CertificateInvalidError
	var timeout net.Error
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("the server's certificate has expired or is not valid yet")
	case errors.As(err, &certificate):
		return fmt.Errorf("the server's certificate cannot be trusted: %w", certificate.Err)
	case errors.As(err, &redirect):
		return redirect
	case errors.Is(err, errTooLong):
		return errTooLong
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("nothing listens at the vault's address")
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("the server did not answer in time")
	}
	var operation *net.OpError
	if errors.As(err, &operation) {
		return operation
	}
	return errors.New("the server's answer is not that of a vault") // how it fails to parse would quote it
}

// status tells of an answer that is an error.
func status(refused *api.ResponseError) error {
	var said []string
	for _, text := range refused.Errors {
		for _, word := range words {
			if strings.Contains(text, word) && !slices.Contains(said, word) && !refused.RawError {
				said = append(said, word)
			}
		}
	}
	told := ""
	if len(said) > 0 {
		told = ": " + strings.Join(said, ", ")
	}
	switch {
	case refused.StatusCode == 404:
		return errNothing
	case refused.StatusCode == 403:
		return fmt.Errorf("%w%s", errDenied, told)
	case refused.StatusCode == 503 && slices.Contains(said, "Vault is sealed"):
		return errors.New("the vault is sealed")
	}
	return fmt.Errorf("the vault answers with status %d%s", refused.StatusCode, told)
}

// isGone says that what was to be revoked is not there.
func isGone(err error) bool {
	var refused *api.ResponseError
	if !errors.As(err, &refused) || refused.RawError || refused.StatusCode != 400 && refused.StatusCode != 403 && refused.StatusCode != 404 {
		return false
	}
	return slices.ContainsFunc(refused.Errors, func(text string) bool {
		return strings.Contains(text, "invalid accessor") || strings.Contains(text, "lease not found") || strings.Contains(text, "invalid lease")
	})
}

// The waits before a request is repeated.
var waits = []time.Duration{100 * time.Millisecond, 400 * time.Millisecond}

// always is for what only reads: it may be repeated after every failure that
// can pass by itself.
func always(err error) bool {
	var refused *api.ResponseError
	if errors.As(err, &refused) {
		return notBegun(err) || refused.StatusCode >= 500
	}
	var operation *net.OpError
	return errors.As(err, &operation)
}

// notBegun is for what makes something: only where the server cannot have
// begun, since it was not reached or has too many requests.
func notBegun(err error) bool {
	var refused *api.ResponseError
	if errors.As(err, &refused) {
		return refused.StatusCode == 429
	}
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "dial"
}

// repeat asks again while that makes sense and ctx has time.
func repeat(ctx context.Context, sensible func(error) bool, request func() (*api.Secret, error)) (*api.Secret, error) {
	defer registers.Clear() // what the library decoded went through them
	for _, wait := range waits {
		secret, err := request()
		if err == nil || !sensible(err) {
			return secret, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
	return request()
}

package fetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// verifier passes on the bytes of a blob, and ends with an error instead of
// io.EOF when they are not those of its descriptor.
type verifier struct {
	from   io.Reader
	wanted v1.Descriptor
	sum    hash.Hash
	read   int64
}

func newVerifier(from io.Reader, wanted v1.Descriptor) *verifier {
	return &verifier{from: from, wanted: wanted, sum: sha256.New()}
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.from.Read(p)
	v.sum.Write(p[:n])
	v.read += int64(n)
	switch {
	case v.read > v.wanted.Size:
		return 0, permanent{fmt.Errorf("verify: it has more than the %d bytes of the manifest", v.wanted.Size)}
	case errors.Is(err, io.EOF):
		return n, v.end()
	case err != nil && v.read == v.wanted.Size:
		// go-containerregistry verifies as well, and says so at the end.
		return n, errors.Join(v.end(), err)
	}
	return n, err
}

func (v *verifier) end() error {
	if v.read < v.wanted.Size {
		return fmt.Errorf("verify: it ended after %d of %d bytes", v.read, v.wanted.Size)
	}
	if got := "sha256:" + hex.EncodeToString(v.sum.Sum(nil)); got != v.wanted.Digest.String() {
		return permanent{fmt.Errorf("verify: it is %s, not %s", got, v.wanted.Digest)}
	}
	return io.EOF
}

package scan

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
)

// naming is how a repository names its objects, by how many bytes a name has
// (gitformat-pack(5), extensions.objectFormat of git-config(1)). What a
// repository says of it is not asked: it shows in where its objects lie.
type naming uint8

const (
	bySHA1   naming = sha1.Size
	bySHA256 naming = sha256.Size
)

// objectID is the name that Git gives an object: the SHA-1 or SHA-256 of it. It
// is computed here, never believed, and only used to find the way from a commit
// to a text: what is known to be clean is known by another hash.
type objectID struct {
	bytes [sha256.Size]byte
	size  naming
}

// idOf is the name that a text of its length has.
func idOf(name []byte) (id objectID) {
	id.size = naming(copy(id.bytes[:], name))
	return id
}

// raw is the name as a tree has it.
func (id objectID) raw() []byte { return id.bytes[:id.size] }

// String is the name in hexadecimal.
func (id objectID) String() string { return hex.EncodeToString(id.raw()) }

func (n naming) identify(kind plumbing.ObjectType, content []byte) objectID {
	h := n.begin(kind, int64(len(content)))
	h.Write(content)
	return idOf(h.Sum(nil))
}

// begin begins the name of an object of a size.
func (n naming) begin(kind plumbing.ObjectType, size int64) hash.Hash {
	h := sha1.New()
	if n == bySHA256 {
		h = sha256.New()
	}
	h.Write(append([]byte(kind.String()+" "+strconv.FormatInt(size, 10)), 0))
	return h
}

// parseID reads a name in hexadecimal, of either length.
func parseID(text string) (id objectID, ok bool) {
	name, err := hex.DecodeString(text)
	if n := naming(len(name)); err != nil || n != bySHA1 && n != bySHA256 {
		return objectID{}, false
	}
	return idOf(name), true
}

package image

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/distribution/reference"
	"golang.org/x/sys/unix"
)

const digestPrefix = "sha256:"

// index maps canonical references, NAME:TAG and NAME@sha256:DIGEST, to IDs.
type index map[string]string

// readIndex reads the references of a store; a store without the file has
// none.
func readIndex(dir *os.File) (index, error) {
	names := index{}
	err := readJSON(dir, indexName, &names)
	if errors.Is(err, unix.ENOENT) {
		return names, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read names of images: %w", err)
	}
	for name, id := range names {
		if !isDigest(id) {
			return nil, fmt.Errorf("read names of images: %s means %q, which is no image ID", name, id)
		}
	}
	return names, nil
}

// lookup gives the ID that a reference means; it may be of no image.
func (x index) lookup(wanted wanted) string {
	if wanted.digest == "" {
		return x[wanted.tagged]
	}
	for name, id := range x {
		if strings.HasSuffix(name, "@"+wanted.digest) {
			return id
		}
	}
	return wanted.digest
}

// of lists the references that mean an image, as Docker shows them.
func (x index) of(id string) []string {
	names := []string{} // an empty list in JSON, not null
	for name, other := range x {
		if other == id {
			names = append(names, familiar(name))
		}
	}
	slices.Sort(names)
	return names
}

// wanted is a parsed reference: a digest, or a canonical NAME:TAG.
type wanted struct{ digest, tagged string }

// parse reads a reference of a policy, or a bare image ID. Names are
// normalised as Docker does: debian:12 is docker.io/library/debian:12.
func parse(text string) (wanted, error) {
	if isDigest(text) {
		return wanted{digest: text}, nil
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return wanted{}, fmt.Errorf("read image reference %q: %w", text, err)
	}
	if digested, ok := named.(reference.Digested); ok {
		digest := digested.Digest().String()
		if !isDigest(digest) {
			return wanted{}, fmt.Errorf("read image reference %q: its digest is not SHA-256", text)
		}
		return wanted{digest: digest}, nil
	}
	return wanted{tagged: reference.TagNameOnly(named).String()}, nil
}

// canonical is the form of a reference that the index holds.
func canonical(text string) (string, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return "", fmt.Errorf("read image reference %q: %w", text, err)
	}
	if digested, ok := named.(reference.Canonical); ok {
		return named.Name() + "@" + digested.Digest().String(), nil
	}
	return reference.TagNameOnly(named).String(), nil
}

// familiar is a canonical reference without Docker's default parts.
func familiar(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarString(named)
}

// untagged is a reference without its tag or digest.
func untagged(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.FamiliarName(named)
}

// isDigest says whether text is sha256: and 64 lower-case hexadecimal digits.
func isDigest(text string) bool {
	hex, ok := strings.CutPrefix(text, digestPrefix)
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// hexOf is the name of an image's directory.
func hexOf(id string) string { return id[len(digestPrefix):] }

// Package unpack applies the layers of an image to a directory, as the OCI
// image specification says (layer.md, "Applying Changesets"). Whoever made a
// layer is taken for an attacker, and the process for root:
//
//   - A layer is read twice. The first reading checks its digest, its limits
//     and every header, and removes what its whiteouts hide: they concern
//     lower layers only, whatever the order in the layer. The second writes.
//   - Every path is resolved by the kernel below one directory descriptor,
//     through no symlink at all (openat2(2): RESOLVE_BENEATH,
//     RESOLVE_NO_SYMLINKS); an entry below a symlink is refused. os.Root would
//     keep paths inside too, but follows the links of earlier layers, so that
//     a name would mean something else than it says.
//   - Device nodes, FIFOs and sockets are never made, nor are set-uid and
//     set-gid bits or extended attributes (security.capability) kept.
//
// It may import x/sys and a decompressor, and never reads an entry of the
// directory except to remove it.
package unpack

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Limits bound what one image may unpack to.
type Limits struct {
	Bytes   int64 // of the layers without compression, and of all files
	Entries int64 // of all layers together
}

// A LimitError says which limit an image exceeds.
type LimitError struct {
	What  string // what there is too much of
	Limit int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the image exceeds the limit of %d %s", e.Limit, e.What)
}

// Tree is a directory to which layers are applied, the lowest first.
type Tree struct {
	limits  Limits
	root    *os.File
	used    usage
	skipped []string
	buffer  []byte
	// at and atDir are the directory that was last written to: layers list
	// the entries of a directory one after the other.
	at    int
	atDir string
}

// usage is what was unpacked so far.
type usage struct{ stream, bytes, entries int64 }

// New makes a tree of an empty directory. It writes nowhere else.
func New(root *os.File, limits Limits) *Tree {
	return &Tree{limits: limits, root: root, buffer: make([]byte, 256<<10), at: -1}
}

// Close ends the unpacking; root stays open.
func (t *Tree) Close() { t.forget() }

// Size is the bytes of all files that were unpacked, those that later layers
// replaced among them, and how many entries there were.
func (t *Tree) Size() (bytes, entries int64) { return t.used.bytes, t.used.entries }

// Skipped names the devices, FIFOs and sockets outside /dev that were left
// out. Those in /dev are not worth a word: a sandbox has a /dev of its own.
func (t *Tree) Skipped() []string { return t.skipped }

// Layer applies one layer. open gives its bytes, compressed with gzip, zstd
// or not at all, from the beginning each time. diffID is sha256: and the
// digest of the bytes without compression. After an error the tree is of no
// use. The error may be a *LimitError.
func (t *Tree) Layer(ctx context.Context, diffID string, open func() (io.ReadCloser, error)) error {
	before := t.used
	if err := t.read(ctx, diffID, open, t.inspect); err != nil {
		return err
	}
	// Counted anew: whoever can change the file between the readings gets no
	// more than one that was right from the start.
	t.used = before
	return t.read(ctx, diffID, open, t.write)
}

// read passes every entry of a layer to visit, and checks the digest.
func (t *Tree) read(ctx context.Context, diffID string, open func() (io.ReadCloser, error), visit func(*entry) error) error {
	file, err := open()
	if err != nil {
		return fmt.Errorf("open layer: %w", err)
	}
	defer file.Close()
	plain, err := decompress(file)
	if err != nil {
		return fmt.Errorf("decompress layer: %w", err)
	}
	defer plain.Close()
	sum := sha256.New()
	stream := io.TeeReader(&meter{ctx, plain, t}, sum)
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read layer: %w", err)
		}
		if err := t.visit(header, archive, visit); err != nil {
			return fmt.Errorf("unpack %.200q: %w", header.Name, err)
		}
	}
	// What follows the end of the archive belongs to the digest.
	if _, err := io.CopyBuffer(io.Discard, onlyReader{stream}, t.buffer); err != nil {
		return fmt.Errorf("read layer: %w", err)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != diffID {
		return fmt.Errorf("verify layer: its content is %s, not the %s of the image's configuration", got, diffID)
	}
	return nil
}

func (t *Tree) visit(header *tar.Header, data io.Reader, visit func(*entry) error) error {
	if header.Typeflag == tar.TypeXGlobalHeader { // comments of git archive
		return nil
	}
	e, err := parse(header, data)
	if err != nil {
		return err
	}
	t.used.entries++
	t.used.bytes += e.size // not negative, and no more than the limit before
	switch {
	case t.used.entries > t.limits.Entries:
		return &LimitError{"entries", t.limits.Entries}
	case e.size > t.limits.Bytes || t.used.bytes > t.limits.Bytes:
		return &LimitError{"bytes", t.limits.Bytes}
	}
	return visit(e)
}

// meter bounds the bytes of the layers, and ends with ctx.
type meter struct {
	ctx  context.Context
	from io.Reader
	tree *Tree
}

func (m *meter) Read(p []byte) (int, error) {
	if err := context.Cause(m.ctx); err != nil {
		return 0, err
	}
	n, err := m.from.Read(p)
	m.tree.used.stream += int64(n)
	if m.tree.used.stream > m.tree.limits.Bytes {
		return 0, &LimitError{"bytes", m.tree.limits.Bytes}
	}
	return n, err
}

// onlyReader hides all methods but Read, so that a copy uses its buffer.
type onlyReader struct{ io.Reader }

// inspect is the first reading: it removes what the layer's whiteouts hide.
func (t *Tree) inspect(e *entry) error {
	if e.kind != whiteout && e.kind != opaque {
		return nil
	}
	dir, err := t.lookup(e.dir)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return nil // there is no such directory in the lower layers
	case err != nil:
		return fmt.Errorf("open directory: %w", err)
	}
	defer unix.Close(dir)
	t.forget()
	if e.kind == opaque {
		return empty(dir)
	}
	return remove(dir, e.base)
}

// lookup opens a directory of the tree, which must exist.
func (t *Tree) lookup(dir string) (int, error) {
	if dir == "" {
		dir = "."
	}
	return unix.Openat2(int(t.root.Fd()), dir, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
}

// enter opens a directory to write to, and makes those that no layer has an
// entry of. The descriptor is the tree's.
func (t *Tree) enter(dir string) (int, error) {
	if t.at >= 0 && t.atDir == dir {
		return t.at, nil
	}
	fd, err := t.lookup(dir)
	if errors.Is(err, unix.ENOENT) && dir != "" {
		fd, err = t.makeDir(dir)
	}
	switch {
	case errors.Is(err, unix.ELOOP):
		return -1, fmt.Errorf("a directory of its path is a symlink")
	case errors.Is(err, unix.ENOTDIR):
		return -1, fmt.Errorf("a directory of its path is a file")
	case err != nil:
		return -1, fmt.Errorf("open directory: %w", err)
	}
	t.forget()
	t.at, t.atDir = fd, dir
	return fd, nil
}

func (t *Tree) makeDir(dir string) (int, error) {
	above, base := path.Split(dir)
	parent, err := t.enter(path.Clean("/" + above)[1:])
	if err != nil {
		return -1, err
	}
	if err := unix.Mkdirat(parent, base, 0o755); err != nil {
		return -1, err
	}
	if err := unix.Fchmodat(parent, base, 0o755, 0); err != nil { // whatever the umask
		return -1, err
	}
	return t.lookup(dir)
}

// forget closes the directory that was last written to; it must be called
// before a directory is removed.
func (t *Tree) forget() {
	if t.at >= 0 {
		unix.Close(t.at)
		t.at = -1
	}
}

// Package image is the store of unpacked container images: it finds the
// directory that an image reference of a policy means, and holds it while it
// is in use.
//
//	DIR                0700, root's; DIR/lock is held by whoever writes
//	DIR/names.json     reference → image ID; replaced as a whole
//	DIR/HEX            an image by its ID, the SHA-256 of its configuration;
//	                   flock(2) shared while in use, exclusive to remove it
//	DIR/HEX/image.json what is known of it
//	DIR/HEX/rootfs     its layers, unpacked; never written again
//	DIR/tmp.*          not yet an image, or none any more
//
// An image is known by its ID because that names what is unpacked: the
// configuration lists the digest of every layer's content. The digests of
// manifests are references to it, and several may be: registries compress the
// same layers differently.
//
// creeld links this package, so it parses nothing that a registry or an
// archive wrote: its own two JSON files only. Packages below it do that, in a
// process of their own. It may import privatefile, distribution/reference and
// x/sys, and never changes anything of an image that is in the store.
package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockName   = "lock"
	indexName  = "names.json"
	recordName = "image.json"
	rootName   = "rootfs"
	tmpPrefix  = "tmp."
)

// Store is a directory of images.
type Store struct{ dir string }

// Open names a store. A directory that does not exist is a store without
// images; one that others than root can enter is refused, as is one whose
// path has a symlink in it.
func Open(dir string) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("open image store: %s is not an absolute path", dir)
	}
	s := &Store{dir: filepath.Clean(dir)}
	f, err := s.open()
	if errors.Is(err, unix.ENOENT) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	return s, f.Close()
}

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }

// open opens the directory anew for each use, so that what is checked of it
// is true of what is used.
func (s *Store) open() (*os.File, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, s.dir, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("open image store %s: a component of the path is a symlink", s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open image store %s: %w", s.dir, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("stat image store %s: %w", s.dir, err)
	}
	// A set-uid program of an image is out of reach only behind this mode.
	if st.Uid != 0 || st.Mode&0o077 != 0 {
		unix.Close(fd)
		return nil, fmt.Errorf("image store %s: others may enter it; chown it to root and chmod 0700", s.dir)
	}
	return os.NewFile(uintptr(fd), s.dir), nil
}

// Info is what the store knows of an image.
type Info struct {
	// ID is sha256: and the digest of the image's configuration.
	ID string `json:"id"`
	// Names are the references that mean it, NAME:TAG and NAME@sha256:DIGEST
	// of a manifest, as Docker shows them; sorted.
	Names        []string  `json:"names"`
	Architecture string    `json:"architecture"` // as Go spells it
	Size         int64     `json:"size"`         // of the unpacked files, in bytes
	Entries      int64     `json:"entries"`      // files, directories and links
	Created      time.Time `json:"created"`      // as the image says
	Unpacked     time.Time `json:"unpacked"`
}

// Digest is the digest to pin the image by: of a manifest where a registry
// gave one, or else the ID.
func (i *Info) Digest() string {
	for _, name := range i.Names {
		if _, digest, ok := strings.Cut(name, "@"); ok {
			return digest
		}
	}
	return i.ID
}

// Pin is a reference for a policy to paste, NAME@sha256:DIGEST, or the bare
// ID of an image that has no name.
func (i *Info) Pin() string {
	for _, name := range i.Names {
		if strings.Contains(name, "@") {
			return familiar(name)
		}
	}
	for _, name := range i.Names {
		return untagged(name) + "@" + i.ID
	}
	return i.ID
}

// Image is an image in use: it cannot be removed until it is released.
type Image struct {
	Info
	// Digest is the digest that the image was asked for by, or Info.Digest.
	Digest string
	// Dir is the absolute path of the unpacked root file system, and Root the
	// same directory, opened with O_PATH and valid until Release.
	Dir  string
	Root *os.File
	held *os.File
}

// Release ends the use.
func (i *Image) Release() error {
	return errors.Join(i.Root.Close(), i.held.Close())
}

// NotFoundError is returned for a reference that means no image of the store.
type NotFoundError struct{ Reference string }

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no image %s; get it: creel image pull %s", e.Reference, e.Reference)
}

// Resolve finds the image that a policy's reference means and holds it. A
// digest alone decides where there is one: it may be an image's ID, or the
// digest of a manifest or of an index that an image was pulled by. The error
// may be a *NotFoundError.
func (s *Store) Resolve(reference string) (*Image, error) {
	wanted, err := parse(reference)
	if err != nil {
		return nil, err
	}
	dir, err := s.open()
	if errors.Is(err, unix.ENOENT) {
		return nil, &NotFoundError{reference}
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := readIndex(dir)
	if err != nil {
		return nil, err
	}
	image, err := s.hold(dir, names, names.lookup(wanted))
	if errors.Is(err, unix.ENOENT) {
		return nil, &NotFoundError{reference}
	}
	if err != nil {
		return nil, fmt.Errorf("hold image %s: %w", reference, err)
	}
	if wanted.digest != "" {
		image.Digest = wanted.digest
	}
	return image, nil
}

// hold takes an image into use; ENOENT says that there is none.
func (s *Store) hold(dir *os.File, names index, id string) (*Image, error) {
	if !isDigest(id) { // of a name that is not known
		return nil, unix.ENOENT
	}
	held, err := openBelow(dir, hexOf(id), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	image, err := s.take(dir, held, names, id)
	if err != nil {
		held.Close()
	}
	return image, err
}

func (s *Store) take(dir, held *os.File, names index, id string) (*Image, error) {
	err := unix.Flock(int(held.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) { // it is being removed
		return nil, unix.ENOENT
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	// It may have been removed before the lock was taken.
	if same, err := isEntry(dir, hexOf(id), held); err != nil || !same {
		return nil, errors.Join(err, unix.ENOENT)
	}
	info, err := readInfo(held, names, id)
	if err != nil {
		return nil, err
	}
	root, err := openBelow(held, rootName, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, fmt.Errorf("open %s: %v", rootName, err)
	}
	return &Image{Info: *info, Digest: info.Digest(), Dir: filepath.Join(s.dir, hexOf(id), rootName), Root: root, held: held}, nil
}

// List describes every image, the newest first.
func (s *Store) List() ([]Info, error) {
	dir, err := s.open()
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := readIndex(dir)
	if err != nil {
		return nil, err
	}
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("list image store: %w", err)
	}
	var found []Info
	for _, entry := range entries {
		id := digestPrefix + entry.Name()
		if !isDigest(id) {
			continue
		}
		held, err := openBelow(dir, entry.Name(), unix.O_RDONLY|unix.O_DIRECTORY)
		if errors.Is(err, unix.ENOENT) { // removed meanwhile
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open image %s: %w", entry.Name(), err)
		}
		info, err := readInfo(held, names, id)
		held.Close()
		if err != nil {
			return nil, err
		}
		found = append(found, *info)
	}
	slices.SortFunc(found, func(a, b Info) int { return b.Unpacked.Compare(a.Unpacked) })
	return found, nil
}

// readInfo reads the record of an image and adds its names.
func readInfo(held *os.File, names index, id string) (*Info, error) {
	info := &Info{}
	if err := readJSON(held, recordName, info); err != nil {
		return nil, fmt.Errorf("read record of image %s: %v", id, err)
	}
	if info.ID != id {
		return nil, fmt.Errorf("read record of image %s: it is the record of %s", id, info.ID)
	}
	info.Names = names.of(id)
	return info, nil
}

// maxJSON bounds a file of the store, in bytes.
const maxJSON = 16 << 20

func readJSON(dir *os.File, name string, into any) error {
	f, err := openBelow(dir, name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err != nil {
		return err
	}
	if len(data) > maxJSON {
		return fmt.Errorf("%s is too large", name)
	}
	return json.Unmarshal(data, into)
}

func openBelow(dir *os.File, name string, flags uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// isEntry says whether the entry of dir is what held has open.
func isEntry(dir *os.File, name string, held *os.File) (bool, error) {
	var entry, open unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &entry, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, err
	}
	if err := unix.Fstat(int(held.Fd()), &open); err != nil {
		return false, err
	}
	return entry.Dev == open.Dev && entry.Ino == open.Ino, nil
}

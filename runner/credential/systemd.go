package credential

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Systemd reads the credentials that systemd hands to a service
// (systemd.exec(5), LoadCredential=).
type Systemd struct{ dir string }

// NewSystemd returns the provider of "systemd:NAME" for the directory that
// $CREDENTIALS_DIRECTORY named when the service started; empty if it did not.
// The directory is opened for every fetch, since systemd may replace it.
func NewSystemd(dir string) *Systemd { return &Systemd{dir: dir} }

// Fetch reads the file that the reference names.
func (s *Systemd) Fetch(_ context.Context, ask Ask) (Grant, error) {
	secret, err := s.Read(ask.Reference)
	return Grant{Secret: secret}, err
}

// Read reads the file called name.
func (s *Systemd) Read(name string) (Secret, error) {
	if err := checkName(name); err != nil {
		return Secret{}, fmt.Errorf("check name: %w", err)
	}
	if s.dir == "" {
		return Secret{}, errors.New("find credentials directory: the service has none; add LoadCredential= to creeld's unit")
	}
	if !filepath.IsAbs(s.dir) || filepath.Clean(s.dir) != s.dir {
		return Secret{}, fmt.Errorf("find credentials directory: %q is not a clean absolute path", s.dir)
	}
	dir, err := openAt(unix.AT_FDCWD, s.dir, unix.O_PATH|unix.O_DIRECTORY, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return Secret{}, fmt.Errorf("open credentials directory: %w", err)
	}
	defer func() { _ = unix.Close(dir) }()
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	file, err := openAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY,
		unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return Secret{}, fmt.Errorf("open file: %w", err)
	}
	defer func() { _ = unix.Close(file) }()
	if err := checkPrivate(file); err != nil {
		return Secret{}, fmt.Errorf("check file: %w", err)
	}
	return readValue(file)
}

// checkName is systemd's own rule (credential_name_valid): a file name that
// is a descriptor name too, so printable ASCII without a colon.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return fmt.Errorf("%q is not a file name", name)
	case len(name) > unix.NAME_MAX:
		return fmt.Errorf("longer than %d bytes", unix.NAME_MAX)
	}
	if i := strings.IndexFunc(name, func(r rune) bool {
		return r < ' ' || r >= 0x7f || r == '/' || r == ':'
	}); i >= 0 {
		return fmt.Errorf("%q is not allowed", name[i])
	}
	return nil
}

// checkPrivate accepts a regular file that its owner alone can use, the owner
// being root or this process. systemd writes mode 0400; it adds an ACL (seen
// as 0440) only for a service with User=, which creeld is not, and then other
// users can read the file: it is refused.
func checkPrivate(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	switch {
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return errors.New("not a regular file")
	case stat.Mode&0o077 != 0:
		return fmt.Errorf("mode %04o lets others than the owner use it; want 0400", stat.Mode&0o7777)
	case stat.Uid != 0 && stat.Uid != uint32(unix.Geteuid()):
		return fmt.Errorf("owned by uid %d, not by root", stat.Uid)
	}
	return nil
}

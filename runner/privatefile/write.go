package privatefile

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/privatefile/internal/fault"
)

// partial ends the name of what becomes a file: as private as it, and removed by
// the next change of that file where a crash left it.
const partial = ".partial"

// change is one replacement of a file.
type change struct {
	*Dir
	name string
	data []byte
	made int // the new file, open; -1: there is none
}

// steps replace a file. Before the rename a crash leaves the old one, after it
// the new one, whole: it was on the disk by then (rename(2), fsync(2)). Only the
// last step makes sure that the new name is, too.
var steps = []struct {
	name string
	do   func(*change) error
}{
	{"remove what a crash left", (*change).sweep},
	{"make new file", (*change).create},
	{"write new file", (*change).fill},
	{"sync new file", func(c *change) error { return unix.Fsync(c.made) }},
	{"replace file", func(c *change) error { return unix.Renameat(c.fd, c.name+partial, c.fd, c.name) }},
	{"sync directory", func(c *change) error { return unix.Fsync(c.fd) }},
}

// Write makes a file, of mode 0600, or replaces it, for good once it returns.
// With an error there is the old one; where the last step failed, the new one,
// which a crash may undo. Writers of one file must exclude each other.
func (d *Dir) Write(name string, data []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	c := &change{Dir: d, name: name, data: data, made: -1}
	err := c.run()
	if err != nil {
		_ = c.sweep()
	}
	return err
}

func (c *change) run() error {
	defer func() {
		if c.made >= 0 {
			_ = unix.Close(c.made)
		}
	}()
	for _, step := range steps {
		err := fault.Before(step.name)
		if err == nil {
			err = step.do(c)
		}
		if err != nil {
			return fmt.Errorf("%s in %s: %w", step.name, c.path, err)
		}
	}
	return nil
}

func (c *change) sweep() error {
	if err := unix.Unlinkat(c.fd, c.name+partial, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func (c *change) create() (err error) {
	c.made, err = openAt(c.fd, c.name+partial, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	return err
}

func (c *change) fill() error {
	for rest := c.data; len(rest) > 0; {
		n, err := unix.Write(c.made, rest)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

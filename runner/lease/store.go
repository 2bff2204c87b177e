package lease

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/creel-sandbox/creel/runner/privatefile"
)

// store is a directory with one file for each lease: it is written whole, and
// is on the disk, before the lease's value is used.
type store string

// maxFile bounds a file, in bytes: an accessor is short.
const maxFile = 64 << 10

const suffix = ".json"

// load makes the directory where there is none, and reads it, without what a
// supervisor left that was killed while it wrote. The names are those of the
// files.
func (s store) load() (map[string]Entry, error) {
	if s == "" {
		return nil, nil
	}
	dir, err := privatefile.Make(string(s))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := dir.Sweep(); err != nil {
		return nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	entries := map[string]Entry{}
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		data, err := dir.Read(name, maxFile)
		if err != nil {
			return nil, err
		}
		if entries[name], err = parse(data); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(string(s), name), err)
		}
	}
	return entries, nil
}

func parse(data []byte) (Entry, error) {
	var entry Entry
	if err := json.Unmarshal(data, &entry); err != nil {
		return entry, err
	}
	if entry.Accessor == "" || entry.Provider == "" {
		return entry, errors.New("it names no lease")
	}
	return entry, nil
}

// write gives the name of the file that a lease is in, also where it may not
// last.
func (s store) write(entry Entry) (string, error) {
	if s == "" {
		return "", errors.New("there is no directory for it")
	}
	data, err := json.Marshal(entry)
	if err != nil {
		return "", err
	}
	dir, err := privatefile.Open(string(s))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	name := rand.Text() + suffix
	return name, dir.Write(name, data)
}

// remove is not synced: to revoke a lease twice does no harm.
func (s store) remove(name string) error {
	if name == "" {
		return nil // it could not be written
	}
	dir, err := privatefile.Open(string(s))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // it could not be written
}

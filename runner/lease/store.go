package lease

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// store is a directory with one file for each lease: it is written whole, and
// is on the disk, before the lease's value is used (rename(2), fsync(2)).
type store string

// maxFile bounds what is read of a file: an accessor is short.
const maxFile = 64 << 10

const (
	suffix  = ".json"
	partial = ".partial"
)

// load makes the directory where there is none, and reads it. The names are
// those of the files.
func (s store) load() (map[string]Entry, error) {
	if s == "" {
		return nil, nil
	}
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(string(s), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != uint32(os.Geteuid()) || st.Mode&0o077 != 0 {
		return nil, fmt.Errorf("%s: others may use it; chown it to root and chmod 0700", string(s))
	}
	names, err := os.ReadDir(string(s))
	if err != nil {
		return nil, err
	}
	entries := map[string]Entry{}
	for _, name := range names {
		path := filepath.Join(string(s), name.Name())
		if strings.HasSuffix(path, partial) { // a supervisor was killed while it wrote
			if err := os.Remove(path); err != nil {
				return nil, err
			}
			continue
		}
		if !strings.HasSuffix(path, suffix) {
			continue
		}
		entry, err := read(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		entries[path] = entry
	}
	return entries, nil
}

func read(path string) (Entry, error) {
	var entry Entry
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return entry, err
	}
	defer file.Close()
	data := make([]byte, maxFile)
	n, err := file.Read(data)
	if err != nil {
		return entry, err
	}
	if err := json.Unmarshal(data[:n], &entry); err != nil {
		return entry, err
	}
	if entry.Accessor == "" || entry.Provider == "" {
		return entry, errors.New("it names no lease")
	}
	return entry, nil
}

// write gives the name of the file that a lease is in.
func (s store) write(entry Entry) (string, error) {
	if s == "" {
		return "", errors.New("there is no directory for it")
	}
	data, err := json.Marshal(entry)
	if err != nil {
		return "", err
	}
	name := filepath.Join(string(s), rand.Text()+suffix)
	if err := writeSynced(name+partial, data); err != nil {
		_ = os.Remove(name + partial)
		return "", err
	}
	if err := os.Rename(name+partial, name); err != nil {
		return "", err
	}
	return name, s.sync()
}

func writeSynced(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

func (s store) sync() error {
	dir, err := os.Open(string(s))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// remove is not synced: to revoke a lease twice does no harm.
func (s store) remove(name string) error {
	if name == "" {
		return nil // it could not be written
	}
	return os.Remove(name)
}

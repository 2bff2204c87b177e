package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/creel-sandbox/creel/runner/image/unpack"
)

// archive is a directory or a tar archive with the files of images.
type archive interface {
	has(name string) bool
	size(name string) (int64, error)
	open(name string) (io.ReadCloser, error)
	Close() error
}

func openArchive(ctx context.Context, path string, stdin io.Reader, tmp string, o Options) (archive, error) {
	if path == "-" {
		return spool(ctx, stdin, tmp, o)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, fmt.Errorf("open layout: %w", err)
		}
		return layoutDir{root}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	magic := make([]byte, 2)
	if n, err := f.ReadAt(magic, 0); !info.Mode().IsRegular() || err != nil && n < 2 || bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		defer f.Close() // a pipe, or compressed: to be read once only
		return spool(ctx, f, tmp, o)
	}
	return newTarFile(f)
}

// spool copies a stream to a file that can be read in any order.
func spool(ctx context.Context, from io.Reader, tmp string, o Options) (archive, error) {
	step := o.Progress.Start("read archive", 0)
	defer step.Done()
	source := interruptible(ctx, from)
	defer source.Close()
	plain, err := plainTar(&counter{source, step})
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(tmp, "archive"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make copy of archive: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(plain, o.Limits.Download+1))
	if err == nil && n > o.Limits.Download {
		err = &unpack.LimitError{What: "bytes of the archive", Limit: o.Limits.Download}
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("copy archive: %w", err)
	}
	return newTarFile(f)
}

// plainTar undoes gzip, in which docker-archives often are.
func plainTar(from io.Reader) (io.Reader, error) {
	magic := make([]byte, 2)
	n, err := io.ReadFull(from, magic)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(magic[:n]), from)
	if n == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		return gzip.NewReader(whole)
	}
	return whole, nil
}

// interruptible ends with ctx even while a read of from blocks, as one of a
// terminal or a pipe does. That read is then left alone, to end by itself.
func interruptible(ctx context.Context, from io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, from)
		w.CloseWithError(err) // nil is io.EOF
	}()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	return stoppable{r, stop}
}

type stoppable struct {
	*io.PipeReader
	stop func() bool
}

func (s stoppable) Close() error {
	s.stop()
	return s.PipeReader.Close()
}

// layoutDir is a directory; a symlink in it cannot lead out of it.
type layoutDir struct{ root *os.Root }

func (d layoutDir) Close() error { return d.root.Close() }

func (d layoutDir) has(name string) bool {
	_, err := d.root.Stat(name)
	return err == nil
}

func (d layoutDir) size(name string) (int64, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return 0, fmt.Errorf("look at file of layout: %w", err)
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("file %.200q of the layout is not a regular file", name)
	}
	return info.Size(), nil
}

func (d layoutDir) open(name string) (io.ReadCloser, error) {
	if _, err := d.size(name); err != nil { // a FIFO would block
		return nil, err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open file of layout: %w", err)
	}
	return f, nil
}

// tarFile is an archive with the places of its files.
type tarFile struct {
	file  *os.File
	parts map[string]part
}

// part is a file of an archive, or a link to one: docker save before version
// 25 has links for layers that are the same.
type part struct {
	offset, size int64
	link         string
}

const (
	maxParts = 100_000
	maxLinks = 8 // that lead to a file
)

func newTarFile(f *os.File) (_ *tarFile, err error) {
	t := &tarFile{file: f, parts: map[string]part{}}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	reader := tar.NewReader(f)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read archive: %w", err)
		}
		if len(t.parts) == maxParts || len(header.Name) > 1024 || len(header.Linkname) > 1024 {
			return nil, fmt.Errorf("read archive: it has more than %d files, or a name of more than 1024 bytes", maxParts)
		}
		name := path.Clean("/" + header.Name)[1:]
		switch header.Typeflag {
		case tar.TypeReg:
			// A tar.Reader reads no further than the header; a sparse file would
			// be other bytes than the archive has, and fails its verification.
			offset, err := f.Seek(0, io.SeekCurrent)
			if err != nil {
				return nil, fmt.Errorf("read archive: %w", err)
			}
			t.parts[name] = part{offset: offset, size: header.Size}
		case tar.TypeSymlink:
			t.parts[name] = part{link: path.Join("/", path.Dir(name), header.Linkname)[1:]}
		case tar.TypeLink:
			t.parts[name] = part{link: path.Clean("/" + header.Linkname)[1:]}
		}
	}
}

func (t *tarFile) Close() error { return t.file.Close() }

func (t *tarFile) has(name string) bool {
	_, err := t.find(name)
	return err == nil
}

func (t *tarFile) size(name string) (int64, error) {
	p, err := t.find(name)
	return p.size, err
}

func (t *tarFile) find(name string) (part, error) {
	name = path.Clean("/" + name)[1:]
	for range maxLinks {
		p, ok := t.parts[name]
		if !ok {
			return part{}, fmt.Errorf("the archive has no file %.200q: %w", name, fs.ErrNotExist)
		}
		if p.link == "" {
			return p, nil
		}
		name = p.link
	}
	return part{}, fmt.Errorf("file %.200q of the archive is a link to a link, and so on", strings.ToValidUTF8(name, "?"))
}

func (t *tarFile) open(name string) (io.ReadCloser, error) {
	p, err := t.find(name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(t.file, p.offset, p.size)), nil
}

package unpack

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// h is a header; its Typeflag is by default a file, whose content is its
// Linkname.
func h(name string, flag byte, link string) tar.Header {
	return tar.Header{Name: name, Typeflag: flag, Linkname: link, Mode: 0o644, ModTime: time.Unix(1700000000, 0)}
}

func dir(name string) tar.Header        { d := h(name, tar.TypeDir, ""); d.Mode = 0o755; return d }
func file(name, text string) tar.Header { return h(name, tar.TypeReg, text) }
func wh(name string) tar.Header         { return h(name, tar.TypeReg, "") }
func sym(name, to string) tar.Header    { return h(name, tar.TypeSymlink, to) }
func hard(name, to string) tar.Header   { return h(name, tar.TypeLink, to) }

// layer writes an archive as a hostile tool may: any name in any header.
func layer(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, header := range headers {
		text := ""
		if header.Typeflag == tar.TypeReg {
			text, header.Linkname = header.Linkname, ""
			header.Size = int64(len(text))
		}
		check(t, w.WriteHeader(&header))
		_, err := io.WriteString(w, text)
		check(t, err)
	}
	check(t, w.Close())
	return out.Bytes()
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

var roomy = Limits{Bytes: 64 << 20, Entries: 200_000}

// place is an empty root with something beside it that must stay as it is.
type place struct {
	t     testing.TB
	outer string
	root  string
	was   string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	// In memory: a hundred thousand files are many for a slow disk.
	outer, err := os.MkdirTemp("/dev/shm", "creel-unpack-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(outer)) })
	p := &place{t: t, outer: outer}
	p.root = filepath.Join(p.outer, "inner", "root")
	check(t, os.MkdirAll(p.root, 0o755))
	check(t, os.WriteFile(p.outer+"/host", []byte("the host's"), 0o600))
	check(t, os.Mkdir(p.outer+"/hostdir", 0o700))
	check(t, os.WriteFile(p.outer+"/hostdir/file", []byte("the host's too"), 0o600))
	p.was = p.host()
	return p
}

// host describes all of outer but what is in the root.
func (p *place) host() string {
	var b strings.Builder
	check(p.t, filepath.WalkDir(p.outer, func(path string, d fs.DirEntry, err error) error {
		check(p.t, err)
		if path == p.root {
			return fs.SkipDir
		}
		fmt.Fprintln(&b, path, describe(p.t, path))
		return nil
	}))
	return b.String()
}

func describe(t testing.TB, path string) string {
	var st unix.Stat_t
	check(t, unix.Lstat(path, &st))
	content := ""
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(path)
		check(t, err)
		content = fmt.Sprintf("%q", data)
	case unix.S_IFLNK:
		link, err := os.Readlink(path)
		check(t, err)
		return "-> " + link
	case unix.S_IFDIR:
		content = "dir"
	default:
		content = "special"
	}
	return fmt.Sprintf("%o %d:%d %s", st.Mode&0o7777, st.Uid, st.Gid, content)
}

// unpack applies layers and checks that the host is as it was.
func (p *place) unpack(limits Limits, layers ...[]byte) (*Tree, error) {
	p.t.Helper()
	root, err := os.Open(p.root)
	check(p.t, err)
	defer root.Close()
	tree := New(root, limits)
	defer tree.Close()
	for _, data := range layers {
		if err = apply(p.t, tree, data); err != nil {
			break
		}
	}
	if is := p.host(); is != p.was {
		p.t.Errorf("the host changed:\n%s\nwas:\n%s", is, p.was)
	}
	return tree, err
}

func apply(t testing.TB, tree *Tree, data []byte) error {
	return tree.Layer(t.Context(), digest(data), func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	})
}

// tree describes what is in the root.
func (p *place) tree() map[string]string {
	found := map[string]string{}
	check(p.t, filepath.WalkDir(p.root, func(path string, d fs.DirEntry, err error) error {
		check(p.t, err)
		if name, _ := filepath.Rel(p.root, path); name != "." {
			found[name] = describe(p.t, path)
		}
		return nil
	}))
	return found
}

package unpack

import (
	"archive/tar"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzLayer unpacks any bytes over a lower layer: whatever they are, the host
// stays as it is, and what gives privileges does not come to be.
func FuzzLayer(f *testing.F) {
	lower := []tar.Header{dir("d"), file("d/a", "a"), sym("s", "/etc"), sym("up", ".."), hard("l", "d/a")}
	for _, seed := range [][]tar.Header{
		{file("d/a", "b"), wh("d/.wh.a"), wh("d/.wh..wh..opq")},
		{sym("d", ".."), file("d/x", "x"), hard("h", "s"), h("dev/null", tar.TypeChar, "")},
		{file("../x", "x"), file("/abs", "x"), dir("./"), h("f", tar.TypeFifo, "")},
	} {
		f.Add(layer(f, seed...))
	}
	f.Add(sparse)
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newPlace(t)
		_, err := p.unpack(Limits{1 << 20, 100}, layer(t, lower...), data)
		count := 0
		check(t, filepath.WalkDir(p.root, func(path string, d fs.DirEntry, walkErr error) error {
			check(t, walkErr)
			var st unix.Stat_t
			check(t, unix.Lstat(path, &st))
			kind := st.Mode & unix.S_IFMT
			if kind != unix.S_IFREG && kind != unix.S_IFDIR && kind != unix.S_IFLNK || kind != unix.S_IFLNK && st.Mode&0o6000 != 0 {
				t.Errorf("%q has mode %o", path, st.Mode)
			}
			count++
			return nil
		}))
		if err == nil && count > 100*maxDepth {
			t.Errorf("%d entries", count)
		}
		check(t, os.RemoveAll(p.root))
	})
}

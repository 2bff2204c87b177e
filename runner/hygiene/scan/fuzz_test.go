package scan

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/hygiene/keyring"
)

// FuzzObjects has what lies in a repository be anything. The rules are left
// out: they are the library's, and slow under a fuzzer.
func FuzzObjects(f *testing.F) {
	blob := []byte("text\n")
	f.Add(packOf(1, entryOf(3, len(blob), nil, blob)), []byte("x\x9c"), []byte("tree "+strings.Repeat("a", 40)+"\ncommitter a <a> 1 +0000\n\n"))
	f.Add(packOf(2, entryOf(3, len(blob), nil, blob), entryOf(6, 4, []byte{14}, delta(5, 5))), []byte{}, []byte("100644 a\x00aaaaaaaaaaaaaaaaaaaa"))
	dir := f.TempDir()
	put := func(t *testing.T, path string, data []byte) {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ring := keyring.New()
	needles, err := ring.Hash([]byte(managed))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, pack, loose, content []byte) {
		put(t, ".git/objects/pack/pack-x.pack", pack)
		put(t, ".git/objects/ab/"+strings.Repeat("0", 38), loose)
		put(t, ".git/objects/pack/pack-y.pack", packOf(3, entryOf(1, len(content), nil, content), entryOf(2, len(content), nil, content),
			entryOf(3, len(managed), nil, []byte(managed))))
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }()
		s := newSearch(hygiene.Request{Needles: hygiene.Put(ring.Key(), needles), Seconds: 60}, []place{{hygiene.Place{Name: dir}, fd}}, &memory{})
		s.rules.use(detect.NewDetector(config.Config{}))
		if s.run(); len(s.report.Findings) == 0 {
			t.Error("what lies beside it is not searched")
		}
	})
}

func FuzzMemory(f *testing.F) {
	good := &memory{header: header{Salt: make([]byte, 32)}, files: map[key]struct{}{{1}: {}}, packs: map[key]key{{2}: {3}}}
	good.findings = []remembered{{key{1}, hygiene.Finding{Path: "a"}}}
	var b bytes.Buffer
	if err := good.write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		m := readMemory(bytes.NewReader(data))
		var again bytes.Buffer
		if err := m.write(&again); err != nil {
			t.Fatal(err)
		}
		if other := readMemory(&again); len(other.files) != len(m.files) || len(other.packs) != len(m.packs) || len(other.findings) != len(m.findings) {
			t.Errorf("%+v was read, written and read as %+v", m, other)
		}
	})
}

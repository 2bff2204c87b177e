package scan

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// outside is a repository with a credential, which the workspace does not
// hold.
func outside(t *testing.T) string {
	t.Helper()
	o := newWorkspace(t)
	o.git("init", "-q", "-b", "main")
	o.commit("conf", githubToken+"\n")
	if r := o.search(); len(r.Findings) == 0 {
		t.Fatal("control: nothing is found where it is")
	}
	return o.dir
}

func TestNothingOutsideTheWorkspaceIsRead(t *testing.T) {
	elsewhere := outside(t)
	link := func(w *workspace, target, name string) {
		if err := os.Symlink(target, filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, make := range map[string]func(w *workspace){
		"a link as .git":   func(w *workspace) { link(w, elsewhere+"/.git", ".git") },
		"a link to a file": func(w *workspace) { link(w, elsewhere+"/conf", "conf") },
		"a gitdir outside": func(w *workspace) { w.write(".git", "gitdir: "+elsewhere+"/.git\n") },
		"a gitdir loop":    func(w *workspace) { w.write(".git", "gitdir: a/.git\n"); w.write("a/.git", "gitdir: ../.git\n") },
		"alternates": func(w *workspace) {
			w.git("init", "-q")
			w.write(".git/objects/info/alternates", elsewhere+"/.git/objects\n")
		},
		"a link as objects": func(w *workspace) {
			w.git("init", "-q")
			w.remove(".git/objects")
			link(w, elsewhere+"/.git/objects", ".git/objects")
		},
		"a configured worktree": func(w *workspace) {
			w.git("init", "-q")
			w.git("config", "core.worktree", elsewhere)
			w.git("config", "core.fsmonitor", "touch "+elsewhere+"/ran")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			make(w)
			w.clean(w.search())
		})
	}
	if _, err := os.Stat(elsewhere + "/ran"); err == nil {
		t.Error("a program of the repository was run")
	}
}

func TestWhatIsNoFileIsNotOpened(t *testing.T) {
	w := newWorkspace(t)
	if err := unix.Mkfifo(filepath.Join(w.dir, "fifo"), 0o666); err != nil { // whose opening would wait for a writer
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(w.dir, "pack"), 0o666); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(w.dir, "socket")}); err != nil {
		t.Fatal(err)
	}
	w.write("file", "text\n")
	r := w.search()
	w.clean(r)
	if r.Count.Files != 1 || r.Count.FilesRead != 1 {
		t.Errorf("%+v", r.Count)
	}
}

func TestDirectoriesWithoutEndAreNamed(t *testing.T) {
	w := newWorkspace(t)
	deep := strings.Repeat("d/", maxDepth+3)
	w.write(deep+"file", githubToken+"\n")
	r := w.search()
	if len(r.Uncovered) != 1 || !strings.Contains(r.Uncovered[0].Reason, "deeper than 256") {
		t.Errorf("%+v", r)
	}
}

// entryOf is one entry of a pack: its kind, what stands before the data, and
// the data.
func entryOf(kind byte, size int, before, data []byte) []byte {
	head := kind<<4 | byte(size&15)
	var out []byte
	for size >>= 4; size > 0; size >>= 7 {
		out = append(out, head|0x80)
		head = byte(size & 0x7f)
	}
	out = append(out, head)
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return append(append(out, before...), b.Bytes()...)
}

func packOf(count uint32, entries ...[]byte) []byte {
	out := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("PACK"), 2), count)
	return append(out, bytes.Join(entries, nil)...)
}

// delta copies size bytes of its base, which has as many, and says that the
// result has target.
func delta(size, target int) []byte {
	out := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(size)), uint64(target))
	return append(out, 0x90, byte(size))
}

func TestHostilePacksAreBoundedAndNamed(t *testing.T) {
	blob := []byte("token: " + githubToken + "\n")
	good := entryOf(3, len(blob), nil, blob)
	self := bySHA1.identify(3, blob)
	same := delta(len(blob), len(blob))
	far := make([]byte, 20)
	large := append(bytes.Repeat([]byte("some text\n"), maxObject/10+1), managed...)
	largeID := bySHA1.identify(3, large)
	for name, c := range map[string]struct {
		pack    []byte
		found   int
		problem string
	}{
		"control":                        {packOf(1, good), 1, ""},
		"control: a delta":               {packOf(2, good, entryOf(6, len(same), []byte{byte(len(good))}, same)), 1, ""},
		"control: a delta by name":       {packOf(2, entryOf(7, len(same), self.raw(), same), good), 1, ""},
		"control: by a name of SHA-256":  {append(packOf(2, entryOf(7, len(same), bySHA256.identify(3, blob).raw(), same), good), make([]byte, 32)...), 1, ""},
		"by such a name, with no end":    {packOf(2, good, entryOf(7, len(same), bySHA256.identify(3, blob).raw(), same)), 1, "pack of Git"},
		"by half of such a name":         {packOf(2, good, entryOf(7, len(same), far, nil)), 1, "pack of Git"},
		"no pack":                        {[]byte("something else"), 0, "signature"},
		"empty":                          {nil, 0, "empty"},
		"cut":                            {packOf(2, good)[:12+len(good)/2], 0, "EOF"},
		"fewer objects than it says":     {packOf(1000, good), 1, "EOF"},
		"more than can be":               {packOf(1<<31, good), 0, "of at most"},
		"a delta of itself":              {packOf(2, good, entryOf(7, len(same), far, same)), 1, "made from others"},
		"a delta of nothing":             {packOf(2, good, entryOf(6, len(same), []byte{3}, same)), 1, "made from none"},
		"a delta before the pack":        {packOf(2, good, entryOf(6, len(same), []byte{0x90, 0x7f}, same)), 1, "OFS"},
		"a delta that becomes immense":   {packOf(2, good, entryOf(6, len(delta(len(blob), 1<<40)), []byte{byte(len(good))}, delta(len(blob), 1<<40))), 1, "more than"},
		"an object longer than it says":  {packOf(2, good, entryOf(3, 3, nil, blob)), 1, "exceeds"},
		"an object shorter than it says": {packOf(2, good, entryOf(3, 3000, nil, blob)), 1, "not as long"},
		"control: a large object":        {packOf(2, good, entryOf(3, len(large), nil, large)), 2, ""},
		"a delta of a large object":      {packOf(3, good, entryOf(3, len(large), nil, large), entryOf(7, len(same), largeID.raw(), same)), 2, "more than"},
		"a tree that is immense":         {packOf(2, good, entryOf(2, len(large), nil, large)), 1, "more than"},
		"a value behind the end":         {append(packOf(1, good), managed...), 2, ""},
		"no such kind":                   {packOf(2, good, entryOf(5, 3, nil, []byte("abc"))), 1, "type 5"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.values = [][]byte{[]byte(managed)}
			w.write("r/.git/objects/pack/pack-x.pack", string(c.pack))
			r := w.search()
			reasons := fmt.Sprint(r.Uncovered)
			if len(r.Findings) != c.found || (c.problem == "") != (len(r.Uncovered) == 0) || !strings.Contains(reasons, c.problem) {
				t.Errorf("%d findings, want %d; uncovered %s, want %q", len(r.Findings), c.found, reasons, c.problem)
			}
			if again := w.search(); (len(again.Uncovered) == 0) != (c.problem == "") {
				t.Errorf("what was not covered is taken for known: %+v", again)
			}
		})
	}
}

func TestHostileLooseObjectsAreBoundedAndNamed(t *testing.T) {
	pack := func(text string) string {
		var b bytes.Buffer
		z := zlib.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		return b.String()
	}
	blob := githubToken + "\n"
	large := strings.Repeat("some text\n", maxObject/10+1) + managed
	for name, c := range map[string]struct {
		object  string
		found   int
		problem string
	}{
		"control":                {pack(fmt.Sprintf("blob %d\x00%s", len(blob), blob)), 1, ""},
		"control: large":         {pack(fmt.Sprintf("blob %d\x00%s", len(large), large)), 1, ""},
		"no object":              {"no object", 0, "zlib"},
		"empty":                  {"", 0, "EOF"},
		"cut":                    {pack(fmt.Sprintf("blob %d\x00%s", len(blob), blob))[:30], 0, "EOF"},
		"shorter than it says":   {pack(fmt.Sprintf("blob %d\x00%s", len(blob)+1, blob)), 0, "not as long"},
		"longer than it says":    {pack(fmt.Sprintf("blob %d\x00%s", len(blob)-1, blob)), 0, "not as long"},
		"without a size":         {pack("blob \x00" + blob), 0, "invalid header"},
		"of a negative size":     {pack("blob -1\x00" + blob), 0, "not an object"},
		"of a size beyond all":   {pack("blob 99999999999999999999\x00" + blob), 0, "invalid header"},
		"a tree that is immense": {pack(fmt.Sprintf("tree %d\x00%s", len(large), large)), 0, "more than"},
		"no such kind":           {pack("thing 3\x00abc"), 0, "not an object"},
		"a value behind the end": {pack("blob 0\x00") + managed, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.values = [][]byte{[]byte(managed)}
			for _, digits := range []int{38, 62} {
				path := ".git/objects/ab/" + strings.Repeat("0", digits)
				w.write(path, c.object)
				r := w.search()
				if len(r.Findings) != c.found || (c.problem == "") != (len(r.Uncovered) == 0) || !strings.Contains(fmt.Sprint(r.Uncovered), c.problem) {
					t.Errorf("%d findings, want %d; uncovered %+v, want %q", len(r.Findings), c.found, r.Uncovered, c.problem)
				}
				w.remove(path)
			}
		})
	}
}

// A tree of ten levels that each name the one below ten times has 10^10 paths.
func TestTreesThatMultiplyAreLookedAtOnce(t *testing.T) {
	w := newWorkspace(t)
	blob := []byte(githubToken + "\n")
	entries := [][]byte{entryOf(3, len(blob), nil, blob)}
	below, mode := bySHA1.identify(3, blob), "100644"
	for range 10 {
		var tree []byte
		for i := range 10 {
			tree = append(append(tree, fmt.Sprintf("%s %d\x00", mode, i)...), below.raw()...)
		}
		entries = append(entries, entryOf(2, len(tree), nil, tree))
		below, mode = bySHA1.identify(2, tree), "40000"
	}
	commit := []byte("tree " + below.String() + "\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\nall\n")
	entries = append(entries, entryOf(1, len(commit), nil, commit))
	w.write(".git/objects/pack/pack-x.pack", string(packOf(uint32(len(entries)), entries...)))
	f := w.only(w.search())
	if strings.Count(f.Path, "/") != 9 || f.Commit != bySHA1.identify(1, commit).String() {
		t.Errorf("%+v", f)
	}
}

func TestManyReferencesAreOnlyText(t *testing.T) {
	w := newWorkspace(t)
	w.git("init", "-q", "-b", "main")
	id := w.commit("conf", "nothing\n")
	var refs strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&refs, "%s refs/heads/b%d\n", id, i)
	}
	w.write(".git/packed-refs", refs.String())
	r := w.search()
	w.clean(r)
	if r.Count.Objects != 3 {
		t.Errorf("%+v", r.Count)
	}
}

func TestMemoryThatIsNoneKnowsNothing(t *testing.T) {
	good := &memory{header: header{Salt: make([]byte, 32)}, files: map[key]struct{}{{1}: {}}, objects: map[key]struct{}{}}
	var b bytes.Buffer
	if err := good.write(&b); err != nil {
		t.Fatal(err)
	}
	if m := readMemory(bytes.NewReader(b.Bytes())); len(m.files) != 1 {
		t.Fatal("control: a memory that was written is not read")
	}
	for i := range b.Len() {
		if m := readMemory(bytes.NewReader(b.Bytes()[:i])); len(m.files) != 0 {
			t.Errorf("cut at %d, it knows %d files", i, len(m.files))
		}
	}
	if m := readMemory(strings.NewReader(magic + "\xff\xff\xff\xff")); len(m.files) != 0 {
		t.Error("a header without end is read")
	}
}

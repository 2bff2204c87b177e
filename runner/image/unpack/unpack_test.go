package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// TestLayersMeanWhatTheSpecificationSays: OCI image-spec layer.md.
func TestLayersMeanWhatTheSpecificationSays(t *testing.T) {
	lower := []tar.Header{dir("d"), file("d/a", "a"), file("d/b", "b"), dir("d/sub"), file("d/sub/x", "x"), file("top", "top"), sym("s", "d")}
	const f, plain = `644 0:0 `, `755 0:0 dir`
	for _, c := range []struct {
		name  string
		upper []tar.Header
		want  string // names that exist, with their content
	}{
		{"nothing", nil, "d d/a=a d/b=b d/sub d/sub/x=x s>d top=top"},
		{"a file is replaced", []tar.Header{file("d/a", "new")}, "d d/a=new d/b=b d/sub d/sub/x=x s>d top=top"},
		{"a file is hidden", []tar.Header{wh("d/.wh.a")}, "d d/b=b d/sub d/sub/x=x s>d top=top"},
		{"a directory is hidden", []tar.Header{wh(".wh.d")}, "s>d top=top"},
		{"what is not there is hidden", []tar.Header{wh("d/.wh.zz"), wh("no/.wh.a"), wh("top/.wh.a")}, "d d/a=a d/b=b d/sub d/sub/x=x s>d top=top"},
		{"nothing is hidden through a symlink", []tar.Header{wh("s/.wh.a"), wh("s/.wh..wh..opq")}, "d d/a=a d/b=b d/sub d/sub/x=x s>d top=top"},
		{"a symlink itself is hidden", []tar.Header{wh(".wh.s")}, "d d/a=a d/b=b d/sub d/sub/x=x top=top"},
		{"hidden, then added", []tar.Header{wh("d/.wh.a"), file("d/a", "new")}, "d d/a=new d/b=b d/sub d/sub/x=x s>d top=top"},
		{"added, then hidden", []tar.Header{file("d/a", "new"), wh("d/.wh.a")}, "d d/a=new d/b=b d/sub d/sub/x=x s>d top=top"},
		{"opaque before entries", []tar.Header{wh("d/.wh..wh..opq"), file("d/c", "c")}, "d d/c=c s>d top=top"},
		{"opaque after entries", []tar.Header{dir("d"), file("d/c", "c"), dir("d/sub"), file("d/sub/y", "y"), wh("d/.wh..wh..opq")}, "d d/c=c d/sub d/sub/y=y s>d top=top"},
		{"opaque root", []tar.Header{file("only", "o"), wh(".wh..wh..opq")}, "only=o"},
		{"opaque of what becomes a directory", []tar.Header{dir("top"), wh("top/.wh..wh..opq"), file("top/in", "in")}, "d d/a=a d/b=b d/sub d/sub/x=x s>d top top/in=in"},
		{"a directory becomes a file", []tar.Header{file("d", "file")}, "d=file s>d top=top"},
		{"a directory becomes a symlink", []tar.Header{sym("d", "/etc")}, "d>/etc s>d top=top"},
		{"a file becomes a directory and a file again", []tar.Header{dir("top"), file("top/in", "in"), file("top", "back")}, "d d/a=a d/b=b d/sub d/sub/x=x s>d top=back"},
		{"a symlink becomes a directory", []tar.Header{dir("s"), file("s/own", "own")}, "d d/a=a d/b=b d/sub d/sub/x=x s s/own=own top=top"},
		{"a directory is merged", []tar.Header{dir("d/"), file("d/c", "c")}, "d d/a=a d/b=b d/c=c d/sub d/sub/x=x s>d top=top"},
		{"the last of two wins", []tar.Header{file("top", "1"), file("./top", "2"), file("/top", "3")}, "d d/a=a d/b=b d/sub d/sub/x=x s>d top=3"},
		{"names are bytes", []tar.Header{file("new\nline", "n"), file("\xff\xfe", "b"), file("Top", "T")}, "Top=T d d/a=a d/b=b d/sub d/sub/x=x new\nline=n s>d top=top \xff\xfe=b"},
		{"hard links", []tar.Header{hard("l", "d/a"), hard("d/m", "./l"), hard("t", "/s")}, "d d/a=a d/b=b d/m=a d/sub d/sub/x=x l=a s>d t>d top=top"},
		{"a directory that no entry makes", []tar.Header{file("x/y/z/f", "f")}, "d d/a=a d/b=b d/sub d/sub/x=x s>d top=top x x/y x/y/z x/y/z/f=f"},
		{"a link's other file is replaced alone", []tar.Header{hard("l", "d/a"), file("d/a", "new")}, "d d/a=new d/b=b d/sub d/sub/x=x l=a s>d top=top"},
		{"comments of git archive", []tar.Header{{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "c"}}}, "d d/a=a d/b=b d/sub d/sub/x=x s>d top=top"},
	} {
		p := newPlace(t)
		if _, err := p.unpack(roomy, layer(t, lower...), layer(t, c.upper...)); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		found := p.tree()
		var got []string
		for _, name := range slices.Sorted(maps.Keys(found)) {
			switch what := found[name]; {
			case what == plain:
				got = append(got, name)
			case strings.HasPrefix(what, "-> "):
				got = append(got, name+">"+what[3:])
			case strings.HasPrefix(what, f):
				got = append(got, name+"="+strings.Trim(what[len(f):], `"`))
			default:
				got = append(got, name+"?"+what)
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

// TestAttackIsRefusedOrHarmless: each attack is next to the same layer
// without it, which unpacks.
func TestAttackIsRefusedOrHarmless(t *testing.T) {
	long := strings.Repeat("a/", 2100)
	owner := file("f", "f")
	owner.Uid = 1<<32 - 1
	for _, c := range []struct {
		name            string
		attack, control []tar.Header
	}{
		{"up", []tar.Header{file("../host", "x")}, []tar.Header{file("host", "x")}},
		{"up in the middle", []tar.Header{dir("a"), file("a/../../../host", "x")}, []tar.Header{dir("a"), file("a/host", "x")}},
		{"up and down", []tar.Header{dir("a"), file("a/../b", "x")}, []tar.Header{dir("a"), file("b", "x")}},
		{"through an absolute symlink", []tar.Header{sym("a", "OUTER"), file("a/host", "x")}, []tar.Header{sym("a", "OUTER"), file("b/host", "x")}},
		{"through a relative symlink", []tar.Header{sym("a", "../.."), file("a/host", "x")}, []tar.Header{sym("a", "../.."), file("b/host", "x")}},
		{"through two symlinks", []tar.Header{dir("d"), sym("d/a", "../b"), sym("b", "../.."), file("d/a/host", "x")}, []tar.Header{dir("d"), sym("d/a", "../b"), sym("b", "../.."), file("d/host", "x")}},
		{"a directory through a symlink", []tar.Header{sym("a", "OUTER/hostdir"), dir("a/new")}, []tar.Header{sym("a", "OUTER/hostdir"), dir("b/new")}},
		{"a symlink inside stays refused", []tar.Header{dir("d"), sym("a", "d"), file("a/f", "x")}, []tar.Header{dir("d"), sym("a", "d"), file("d/f", "x")}},
		{"proc", []tar.Header{sym("a", "/proc/self/cwd"), file("a/host", "x")}, []tar.Header{sym("a", "/proc/self/cwd")}},
		{"hard link up", []tar.Header{hard("l", "../../host")}, []tar.Header{file("host", "x"), hard("l", "host")}},
		{"hard link through a symlink", []tar.Header{sym("a", "OUTER"), hard("l", "a/host")}, []tar.Header{dir("a"), file("a/host", "x"), hard("l", "a/host")}},
		{"hard link of an absolute host path", []tar.Header{hard("l", "OUTER/host")}, []tar.Header{file("host", "x"), hard("l", "/host")}},
		{"hard link to a directory", []tar.Header{dir("d"), hard("l", "d")}, []tar.Header{file("d", ""), hard("l", "d")}},
		{"hard link to itself", []tar.Header{file("l", "x"), hard("l", "./l")}, []tar.Header{file("l", "x"), hard("m", "./l")}},
		{"hard link to what it replaces", []tar.Header{dir("d"), file("d/f", "x"), hard("d", "d/f")}, []tar.Header{dir("d"), file("d/f", "x"), hard("e", "d/f")}},
		{"hard link to the root", []tar.Header{hard("l", "/")}, []tar.Header{file("f", ""), hard("l", "/f")}},
		{"hard link to a whiteout", []tar.Header{wh(".wh.f"), hard("l", ".wh.f")}, []tar.Header{wh(".wh.f"), file("f", ""), hard("l", "f")}},
		{"whiteout of this directory", []tar.Header{wh(".wh..")}, []tar.Header{wh(".wh..a")}},
		{"whiteout of the one above", []tar.Header{wh(".wh...")}, []tar.Header{wh(".wh...a")}},
		{"whiteout of nothing", []tar.Header{wh("d/.wh.")}, []tar.Header{wh("d/.wh.f")}},
		{"whiteout with a slash", []tar.Header{wh(".wh./f")}, []tar.Header{wh(".wh.f")}},
		{"whiteout as a directory", []tar.Header{dir(".wh.d"), file(".wh.d/f", "x")}, []tar.Header{dir("wh.d"), file("wh.d/f", "x")}},
		{"whiteout as a symlink", []tar.Header{sym(".wh.d", "/")}, []tar.Header{sym("wh.d", "/")}},
		{"whiteout up", []tar.Header{wh("../.wh.hostdir")}, []tar.Header{wh("a/.wh.hostdir")}},
		{"opaque up", []tar.Header{wh("../../.wh..wh..opq")}, []tar.Header{wh("a/.wh..wh..opq")}},
		{"aufs", []tar.Header{wh(".wh..wh.plnk")}, []tar.Header{wh(".wh..whplnk")}},
		{"the root as a file", []tar.Header{file(".", "x")}, []tar.Header{file("./x", "x")}},
		{"the root as a symlink", []tar.Header{sym(".", "/")}, []tar.Header{sym("x", "/")}},
		{"below a file", []tar.Header{file("f", "x"), file("f/g", "x")}, []tar.Header{file("f", "x"), file("g/f", "x")}},
		{"too deep", []tar.Header{file(long[:2*maxDepth]+"f", "x")}, []tar.Header{file(long[:2*(maxDepth-1)]+"f", "x")}},
		{"too long", []tar.Header{file(long+"f", "x")}, []tar.Header{file("f", "x")}},
		{"too long a name", []tar.Header{file(strings.Repeat("n", 256), "x")}, []tar.Header{file(strings.Repeat("n", 255), "x")}},
		{"owner -1", []tar.Header{owner}, []tar.Header{file("f", "f")}},
		{"an unknown type", []tar.Header{h("f", 'Q', "")}, []tar.Header{file("f", "f")}},
		{"a symlink to nowhere", []tar.Header{sym("l", strings.Repeat("a", maxPath+1))}, []tar.Header{sym("l", strings.Repeat("a", maxPath))}},
	} {
		for _, side := range []struct {
			headers []tar.Header
			refused bool
		}{{c.attack, true}, {c.control, false}} {
			p := newPlace(t)
			headers := slices.Clone(side.headers)
			for i := range headers {
				headers[i].Linkname = strings.ReplaceAll(headers[i].Linkname, "OUTER", p.outer)
			}
			if _, err := p.unpack(roomy, layer(t, headers...)); (err != nil) != side.refused {
				t.Errorf("%s: refused should be %v: %v", c.name, side.refused, err)
			}
		}
	}
}

func TestPrivilegesAndDevicesAreNotUnpacked(t *testing.T) {
	suid, sticky, owned := file("suid", "x"), dir("tmp"), file("owned", "x")
	suid.Mode, sticky.Mode = 0o6755, 0o7777
	suid.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "SCHILY.xattr.user.x": "y"}
	owned.Uid, owned.Gid, owned.Mode = 1<<32-2, 1000, 0o400
	link := sym("link", "/etc/shadow")
	link.Uid = 7
	root := dir("./")
	root.Mode, root.Uid = 0o2750, 5
	p := newPlace(t)
	tree, err := p.unpack(roomy, layer(t, file("dev/null", "lower"), file("run/initctl", "lower")), layer(t, root, suid, sticky, owned, link,
		h("dev/null", tar.TypeChar, ""), h("dev/sda", tar.TypeBlock, ""), h("run/initctl", tar.TypeFifo, ""), h("disk", tar.TypeBlock, "")))
	check(t, err)
	if diff := cmp.Diff(map[string]string{
		"suid": `755 0:0 "x"`, "tmp": "1777 0:0 dir", "owned": `400 4294967294:1000 "x"`, "link": "-> /etc/shadow", "dev": "755 0:0 dir", "run": "755 0:0 dir",
	}, p.tree()); diff != "" {
		t.Error(diff)
	}
	if got := describe(t, p.root); got != "750 5:0 dir" {
		t.Errorf("the root is %s", got)
	}
	if n, err := unix.Llistxattr(p.root+"/suid", nil); err != nil || n != 0 {
		t.Errorf("%d bytes of extended attributes, %v", n, err)
	}
	if diff := cmp.Diff([]string{"run/initctl", "disk"}, tree.Skipped()); diff != "" {
		t.Error(diff)
	}
	var st unix.Stat_t
	check(t, unix.Lstat(p.root+"/link", &st))
	if st.Uid != 7 || st.Mtim.Sec != 1700000000 {
		t.Errorf("the symlink is of %d, at %d", st.Uid, st.Mtim.Sec)
	}
}

func TestLimitsHold(t *testing.T) {
	big := layer(t, file("zero", strings.Repeat("\x00", 4<<20)), file("g", "g"))
	for _, c := range []struct {
		name   string
		limits Limits
		layers [][]byte
		what   string
	}{
		{"enough", Limits{5 << 20, 2}, [][]byte{big}, ""},
		{"a gzip bomb", Limits{1 << 20, 10}, [][]byte{compressGzip(t, big)}, "bytes"},
		{"a zstd bomb", Limits{1 << 20, 10}, [][]byte{compressZstd(t, big)}, "bytes"},
		{"two layers", Limits{5 << 20, 10}, [][]byte{big, big}, "bytes"},
		{"a sparse file", Limits{1 << 30, 10}, [][]byte{sparse}, "bytes"},
		{"entries", Limits{5 << 20, 1}, [][]byte{big}, "entries"},
		{"zeros behind the end", Limits{1 << 20, 10}, [][]byte{append(layer(t), make([]byte, 2<<20)...)}, "bytes"},
	} {
		p := newPlace(t)
		root, err := os.Open(p.root)
		check(t, err)
		tree := New(root, c.limits)
		for _, data := range c.layers {
			plain, err := decompress(bytes.NewReader(data))
			check(t, err)
			all, err := io.ReadAll(plain)
			check(t, err)
			if err := tree.Layer(t.Context(), digest(all), opener(data)); err != nil {
				var limit *LimitError
				if !errors.As(err, &limit) || !strings.Contains(limit.What, c.what) || c.what == "" {
					t.Errorf("%s: %v", c.name, err)
				}
				c.what = ""
			}
		}
		if c.what != "" {
			t.Errorf("%s: not refused", c.name)
		}
		check(t, root.Close())
	}
}

// sparse is a file of 1 TiB in 1536 bytes: GNU tar's old format ('S').
var sparse = func() []byte {
	b := make([]byte, 1536)
	copy(b, "hole")
	copy(b[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00        S")
	copy(b[257:], "ustar  \x00")
	copy(b[386:], "20000000000\x0000000000000\x00") // offset and size of the one part
	b[483] = 0x80                                   // the real size, in binary
	b[483+12-6] = 1                                 // 1 << 40
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}()

func opener(data []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
}

func compressGzip(t testing.TB, data []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	check(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

func compressZstd(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	check(t, err)
	defer w.Close()
	return w.EncodeAll(data, nil)
}

// TestOnlyTheConfiguredContentUnpacks: nothing is written of a layer whose
// digest is another, and every form of compression gives the same.
func TestOnlyTheConfiguredContentUnpacks(t *testing.T) {
	data := layer(t, file("f", "f"))
	for name, c := range map[string]struct {
		data []byte
		id   string
		good bool
	}{
		"plain": {data, digest(data), true}, "gzip": {compressGzip(t, data), digest(data), true}, "zstd": {compressZstd(t, data), digest(data), true},
		"wrong": {data, digest(nil), false}, "truncated": {data[:len(data)-600], digest(data), false}, "no digest": {data, "", false},
		"gzip cut": {compressGzip(t, data)[:60], digest(data), false}, "garbage": {[]byte("garbage"), digest([]byte("garbage")), false},
		"behind the end": {append(slices.Clone(data), make([]byte, 512)...), digest(data), false},
	} {
		p := newPlace(t)
		root, err := os.Open(p.root)
		check(t, err)
		err = New(root, roomy).Layer(t.Context(), c.id, opener(c.data))
		if (err == nil) != c.good || len(p.tree()) > 0 != c.good {
			t.Errorf("%s: %v, left %v", name, err, p.tree())
		}
		check(t, root.Close())
	}
}

func TestManyFilesUnpack(t *testing.T) {
	headers := []tar.Header{}
	for i := range 100_000 {
		headers = append(headers, file(fmt.Sprintf("d%d/f%d", i/1000, i), ""))
	}
	data := layer(t, headers...)
	p := newPlace(t)
	root, err := os.Open(p.root)
	check(t, err)
	defer root.Close()
	tree := New(root, Limits{1 << 30, 100_000})
	defer tree.Close()
	check(t, apply(t, tree, data))
	names, err := os.ReadDir(p.root + "/d99")
	if err != nil || len(names) != 1000 {
		t.Errorf("%d files, %v", len(names), err)
	}
	check(t, apply(t, New(root, roomy), layer(t, wh(".wh..wh..opq"))))
	if left := p.tree(); len(left) != 0 {
		t.Errorf("an opaque whiteout left %d entries", len(left))
	}
}

func TestCancelEndsTheUnpacking(t *testing.T) {
	p := newPlace(t)
	root, err := os.Open(p.root)
	check(t, err)
	defer root.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := layer(t, file("f", "f"))
	if err := New(root, roomy).Layer(ctx, digest(data), opener(data)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

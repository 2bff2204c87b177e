package leak

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/leakcheck"
)

// A canary is a text that exists nowhere but where this test put it. Its
// letters and digits (base32) are the same in base64 and base64url.
type canary string

func newCanary() canary { return canary(leakcheck.NewCanary()) }

// value is a secret that repeats the canary three times, so that one copy is
// whole where a block of the disk ends or was used again. Its length is no
// multiple of three, so that base64 has the canary in each of its alignments.
func (c canary) value(kind string) string {
	copy := string(c) + "-" + kind + "."
	if len(copy)%3 == 0 {
		copy += "."
	}
	return strings.Repeat(copy, 3)
}

// in names the forms of the canary that data holds, and where.
func (c canary) in(data []byte) []string {
	var found []string
	for _, f := range leakcheck.Canary(c).Forms() {
		if at := bytes.Index(data, f.Text); at >= 0 {
			found = append(found, fmt.Sprintf("%s, at byte %d, after %q", f.Name, at, data[max(0, at-64):at]))
		}
	}
	return found
}

// fragment is the length of a part of a canary that tells something of it, in
// bytes: that of the smallest vector register.
const fragment = 16

// inPart tells which fragment of the canary data holds, or none.
func (c canary) inPart(data []byte) string {
	for at := range len(c) - fragment + 1 {
		if part := string(c[at : at+fragment]); bytes.Contains(data, []byte(part)) {
			return part
		}
	}
	return ""
}

// word is a number of a trace: an argument or a register.
var word = regexp.MustCompile(`0x[0-9a-f]{9,16}\b`)

// inWords names the numbers of a trace that are bytes of the canary in either
// order; five bytes are the fewest that are not there by chance.
func (c canary) inWords(trace string) []string {
	var found []string
	for _, text := range word.FindAllString(trace, -1) {
		number, err := strconv.ParseUint(text[2:], 16, 64)
		if err != nil {
			continue
		}
		big := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, number), "\x00")
		little := bytes.TrimRight(binary.LittleEndian.AppendUint64(nil, number), "\x00")
		if strings.Contains(string(c), string(big)) || strings.Contains(string(c), string(little)) {
			found = append(found, text)
		}
	}
	return found
}

// onDisk searches the raw disk, deleted files and the journal included, and
// names the forms found.
func (c canary) onDisk(t *testing.T) []string {
	t.Helper()
	dir, err := os.Open(diskDir)
	check(t, err)
	defer dir.Close()
	check(t, unix.Syncfs(int(dir.Fd())))
	data, err := unix.Mmap(int(image.Fd()), 0, diskSize, unix.PROT_READ, unix.MAP_SHARED)
	check(t, err)
	defer func() { check(t, unix.Munmap(data)) }()
	var found []string
	written := 0
	for start, end := extent(t, 0); start < end; start, end = extent(t, end) {
		written += end - start
		found = append(found, c.in(data[start:end])...)
	}
	if written == 0 {
		t.Fatal("the disk is empty: the search looked in the wrong place")
	}
	return found
}

// extent gives the next part of the image that was ever written (lseek(2)),
// or two equal numbers after the last.
func extent(t *testing.T, from int) (start, end int) {
	t.Helper()
	first, err := image.Seek(int64(from), unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return diskSize, diskSize
	}
	check(t, err)
	past, err := image.Seek(first, unix.SEEK_HOLE)
	check(t, err)
	return int(first), int(past)
}

// absent fails if a text that left creel holds the canary.
func (c canary) absent(t *testing.T, what, text string) {
	t.Helper()
	if found := c.in([]byte(text)); len(found) > 0 {
		t.Errorf("%s holds the credential: %s", what, strings.Join(found, "; "))
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

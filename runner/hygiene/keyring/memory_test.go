package keyring

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/credential/locked"
)

// TestMain starts the tests anew without preemption by signals: a thread that
// is interrupted has its registers written to a stack, those too with which
// these tests themselves search.
func TestMain(m *testing.M) {
	const off = "asyncpreemptoff=1"
	if os.Getenv("GODEBUG") != off {
		err := unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), "GODEBUG="+off))
		panic(fmt.Sprint("start anew: ", err))
	}
	os.Exit(m.Run())
}

// copies counts how often the memory of this process that is not locked holds
// a text. It makes no copy of its own there.
func copies(t *testing.T, text []byte) (found int) {
	t.Helper()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mem.Close() }()
	window, err := locked.New(128 << 10)
	if err != nil {
		t.Fatal(err)
	}
	defer window.Free()
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	var start, end uintptr
	for line := range strings.Lines(string(smaps)) {
		var from, to uintptr
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); n == 3 {
			if start, end = from, to; !strings.HasPrefix(mode, "rw") {
				end = start
			}
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); !ok || strings.Contains(flags, " lo ") {
			continue
		}
		for at := start; at < end; at += uintptr(len(window.Bytes()) - len(text)) {
			n, _ := mem.ReadAt(window.Bytes()[:min(uintptr(len(window.Bytes())), end-at)], int64(at)) // what is not there is not read
			found += bytes.Count(window.Bytes()[:n], text)
		}
	}
	return found
}

func TestHashLeavesNoCopyOfTheValue(t *testing.T) {
	for _, length := range []int{9, 40, 63, 64, 200, 3000} {
		value, err := locked.New(length)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Getrandom(value.Bytes(), 0); err != nil {
			t.Fatal(err)
		}
		before := locked.InUse()
		if _, err := New().Hash(value.Bytes()); err != nil {
			t.Fatal(err)
		}
		if after := locked.InUse(); after != before {
			t.Errorf("%d bytes are still in use", after-before)
		}
		work, err := locked.New(length + 2 + 3*length + 8)
		if err != nil {
			t.Fatal(err)
		}
		for i, form := range forms {
			text := form(work.Bytes()[length+2:length+2], value.Bytes(), work.Bytes()[:length+2])
			if n := copies(t, text[:8]) + copies(t, text[len(text)-8:]); n != 0 {
				t.Errorf("%d bytes, form %d: %d copies", length, i, n)
			}
		}
		careless := bytes.Clone(value.Bytes()) // the control
		if copies(t, value.Bytes()[:8]) == 0 {
			t.Error("control: a copy on the heap is not found")
		}
		runtime.KeepAlive(unsafe.SliceData(careless))
		clear(careless)
		work.Free()
		value.Free()
	}
}

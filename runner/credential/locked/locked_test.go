package locked

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func buffer(t testing.TB, size int) *Buffer {
	t.Helper()
	b, err := New(size)
	check(t, err)
	t.Cleanup(b.Free)
	return b
}

// TestMain plays another process when it is started with this argument.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "lock-with-a-low-limit" {
		lockWithALowLimit()
	}
	os.Exit(m.Run())
}

// flags are those of the mapping that an address is in (proc_pid_smaps(5),
// VmFlags).
func flags(t *testing.T, address uintptr) []string {
	t.Helper()
	smaps, err := os.ReadFile("/proc/self/smaps")
	check(t, err)
	inside := false
	for line := range strings.Lines(string(smaps)) {
		var start, end uintptr
		if n, _ := fmt.Sscanf(line, "%x-%x ", &start, &end); n == 2 {
			inside = start <= address && address < end
		}
		if list, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside {
			return strings.Fields(list)
		}
	}
	t.Fatalf("no mapping has address %x", address)
	return nil
}

func TestPagesAreLockedAndInNoCoreAndInNoFork(t *testing.T) {
	for _, size := range []int{1, 64, 65, 4096, largest, largest + 1, 1 << 20} {
		b := buffer(t, size)
		for _, at := range []int{0, size - 1} {
			got := flags(t, uintptr(unsafe.Pointer(&b.Bytes()[at])))
			for _, want := range []string{"lo", "dd", "wf"} {
				if !slices.Contains(got, want) {
					t.Errorf("%d bytes, byte %d: flags %v, want %s among them", size, at, got, want)
				}
			}
		}
	}
	heap := make([]byte, 4096) // the control
	for _, flag := range []string{"lo", "dd", "wf"} {
		if got := flags(t, uintptr(unsafe.Pointer(&heap[0]))); slices.Contains(got, flag) {
			t.Errorf("control: the heap has %s", flag)
		}
	}
}

func TestFreedMemoryIsZeroAndUsedAgain(t *testing.T) {
	for _, size := range []int{8, 64, 1000, largest} {
		b, err := Copy(bytes.Repeat([]byte("x"), size))
		check(t, err)
		memory := b.Bytes()
		if len(memory) != size || cap(memory) != size || memory[size-1] != 'x' {
			t.Fatalf("control: %d bytes, capacity %d, want %d of both, full of x", len(memory), cap(memory), size)
		}
		b.Free()
		if !bytes.Equal(memory, make([]byte, size)) {
			t.Errorf("%d bytes are not zero after Free", size)
		}
		if b.Bytes() != nil {
			t.Error("a freed buffer still gives its memory")
		}
		again := buffer(t, size)
		if &again.Bytes()[0] != &memory[0] {
			t.Errorf("%d bytes: the slot is not used again", size)
		}
		b.Free() // it must not give away what is another's now
		third := buffer(t, size)
		if &third.Bytes()[0] == &again.Bytes()[0] {
			t.Errorf("%d bytes: a second Free gave the slot to two", size)
		}
	}
}

func TestCutZeroesWhatItCutsOff(t *testing.T) {
	b, err := Copy([]byte("0123456789"))
	check(t, err)
	before, memory := InUse(), b.Bytes()
	b.Cut(4)
	if string(b.Bytes()) != "0123" || cap(b.Bytes()) != 4 || string(memory) != "0123\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q of %q, capacity %d", b.Bytes(), memory, cap(b.Bytes()))
	}
	if got := InUse(); got != before-6 {
		t.Errorf("%d bytes in use, want %d", got, before-6)
	}
	b.Free()
	if got := InUse(); got != before-10 {
		t.Errorf("%d bytes in use, want %d", got, before-10)
	}
}

func TestBuffersDoNotOverlap(t *testing.T) {
	var all []*Buffer
	for i := range 5000 {
		b := buffer(t, 1+i*37%3000)
		for at := range b.Bytes() {
			b.Bytes()[at] = byte(i)
		}
		all = append(all, b)
	}
	for i, b := range all {
		if size := 1 + i*37%3000; !bytes.Equal(b.Bytes(), bytes.Repeat([]byte{byte(i)}, size)) {
			t.Fatalf("buffer %d was written to through another", i)
		}
	}
}

func TestSliceIsInItsBuffer(t *testing.T) {
	type pair struct {
		number uint64
		char   byte
	}
	for _, n := range []int{0, 1, 3, 10000} {
		pairs, b, err := Slice[pair](n)
		check(t, err)
		if len(pairs) != n || len(b.Bytes()) != 16*n {
			t.Errorf("%d pairs in %d bytes, want %d in %d", len(pairs), len(b.Bytes()), n, 16*n)
		}
		for i := range pairs {
			pairs[i] = pair{uint64(i), 'x'}
		}
		if got := bytes.Count(b.Bytes(), []byte("x")); n < 100 && got != n {
			t.Errorf("the buffer of %d pairs has %d of their characters", n, got)
		}
		b.Free()
	}
}

func TestLargeBufferGivesItsPagesBack(t *testing.T) {
	before := pool.mapped
	b, err := New(3 << 20)
	check(t, err)
	if pool.mapped != before+3<<20 {
		t.Errorf("%d bytes mapped, want %d", pool.mapped, before+3<<20)
	}
	b.Free()
	if pool.mapped != before {
		t.Errorf("after Free %d bytes are mapped, want %d", pool.mapped, before)
	}
}

func TestBuffersAreForManyGoroutines(t *testing.T) {
	before := InUse()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 500 {
				b, err := Copy(bytes.Repeat([]byte{byte(i)}, 1+n*n%70000))
				if err != nil {
					t.Error(err)
					return
				}
				if bytes.Count(b.Bytes(), []byte{byte(i)}) != len(b.Bytes()) {
					t.Error("another goroutine wrote to the buffer")
				}
				b.Free()
			}
		})
	}
	all.Wait()
	if got := InUse(); got != before {
		t.Errorf("%d bytes in use, want %d", got, before)
	}
}

func TestMoreThanTheLimitIsRefused(t *testing.T) {
	for _, size := range []int{-1, Limit + 1} {
		if _, err := New(size); err == nil || !strings.Contains(err.Error(), "lock memory") {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	pool.mapped += Limit
	_, err := New(largest + 1)
	pool.mapped -= Limit
	if err == nil || !strings.Contains(err.Error(), "fewer commands") {
		t.Errorf("with all of it mapped: %v", err)
	}
	buffer(t, largest+1) // the control
}

// lockWithALowLimit is another process, which may lock one region and no more.
func lockWithALowLimit() {
	limit := unix.Rlimit{Cur: minRegion, Max: minRegion}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		fmt.Println(err)
	}
	_, first := New(64)
	_, second := New(64)
	before := pool.mapped
	_, third := New(largest + 1)
	fmt.Println(first, second, pool.mapped == before, third)
	os.Exit(0)
}

func TestMemoryThatCannotBeLockedIsNotGiven(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "lock-with-a-low-limit")
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}} // root has no limit
	out, err := cmd.CombinedOutput()
	check(t, err)
	const want = "<nil> <nil> true lock memory: cannot allocate memory; raise LimitMEMLOCK= of creeld.service\n"
	if string(out) != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestBufferIsHiddenFromPrinters(t *testing.T) {
	b, err := Copy([]byte("canary-5f2c-value"))
	check(t, err)
	defer b.Free()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, b); got != "[locked memory]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func BenchmarkBuffer(b *testing.B) {
	for _, size := range []int{40, 4096, largest, largest + 1} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buffer, err := New(size)
				check(b, err)
				buffer.Free()
			}
		})
	}
}

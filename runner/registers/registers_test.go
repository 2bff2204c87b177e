package registers

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
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

// TestMain plays another process when it is started with these arguments.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "copy" {
		copyAndWait(os.Args[2] == "clear")
	}
	os.Exit(m.Run())
}

// secret makes some bytes that are nowhere else: the same for both processes.
func secret() []byte {
	b := make([]byte, 240)
	for i := range b {
		b[i] = byte(i*i*7 + i*3 + 91)
	}
	return b
}

// copyAndWait copies the secret, and tells so and waits by system calls alone.
func copyAndWait(clear bool) {
	runtime.LockOSThread()
	fmt.Println(unix.Gettid())
	from, to := secret(), make([]byte, 240)
	ready := []byte{'x'}
	copy(to, from)
	if clear {
		Clear()
	}
	unix.RawSyscall(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&ready[0])), 1)
	unix.RawSyscall(unix.SYS_READ, 0, uintptr(unsafe.Pointer(&ready[0])), 1)
	runtime.KeepAlive(to)
	os.Exit(0)
}

// sets are the numbers of the sets of vector registers (elf.h: NT_X86_XSTATE,
// NT_PRFPREG).
var sets = map[string]uintptr{"amd64": 0x202, "arm64": 2}

// vectorsOf reads the vector registers of a thread (ptrace(2)).
func vectorsOf(t *testing.T, tid int) []byte {
	t.Helper()
	runtime.LockOSThread() // the kernel knows tracers by thread
	defer runtime.UnlockOSThread()
	check(t, unix.PtraceSeize(tid))
	check(t, unix.PtraceInterrupt(tid))
	_, err := unix.Wait4(tid, nil, unix.WALL, nil)
	check(t, err)
	registers := make([]byte, 16<<10)
	vector := unix.Iovec{Base: &registers[0], Len: uint64(len(registers))}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GETREGSET, uintptr(tid), sets[runtime.GOARCH],
		uintptr(unsafe.Pointer(&vector)), 0, 0)
	check(t, unix.PtraceDetach(tid))
	if errno != 0 {
		t.Fatal(errno)
	}
	return registers[:vector.Len]
}

// left says whether a thread that has copied the secret, and may have cleared
// its registers, has any 16 bytes of it in them.
func left(t *testing.T, then string) bool {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "copy", then)
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	defer func() { check(t, cmd.Wait()) }()
	defer stdin.Close()
	var tid int
	_, err = fmt.Fscanln(stdout, &tid)
	check(t, err)
	_, err = io.ReadFull(stdout, make([]byte, 1))
	check(t, err)
	registers := vectorsOf(t, tid)
	for part := secret(); len(part) >= 16; part = part[1:] {
		if bytes.Contains(registers, part[:16]) {
			return true
		}
	}
	return false
}

func TestNothingOfWhatWasCopiedIsLeftInRegisters(t *testing.T) {
	if left(t, "clear") {
		t.Error("registers hold a part of it")
	}
	if !left(t, "keep") {
		t.Error("control: without Clear nothing is found")
	}
}

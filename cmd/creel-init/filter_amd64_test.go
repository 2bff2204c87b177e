package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// exits42 is a whole program: _exit_group(42).
var exits42 = []byte{
	0xb8, 0xe7, 0, 0, 0, // mov eax, 231
	0xbf, 42, 0, 0, 0, // mov edi, 42
	0x0f, 0x05, // syscall
}

// tinyProgram wraps code as the smallest static ELF file (elf(5)).
func tinyProgram(code []byte) []byte {
	const base, headers = 0x400000, 64 + 56
	le := binary.LittleEndian
	elf := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	elf = le.AppendUint16(elf, 2)  // ET_EXEC
	elf = le.AppendUint16(elf, 62) // EM_X86_64
	elf = le.AppendUint32(elf, 1)
	for _, v := range []uint64{base + headers, 64, 0} { // entry, program headers, no sections
		elf = le.AppendUint64(elf, v)
	}
	elf = le.AppendUint32(elf, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		elf = le.AppendUint16(elf, v)
	}
	elf = le.AppendUint32(le.AppendUint32(elf, 1), 5) // PT_LOAD, readable and executable
	size := uint64(headers + len(code))
	for _, v := range []uint64{0, base, base, size, size, 4096} {
		elf = le.AppendUint64(elf, v)
	}
	return append(elf, code...)
}

// A filter is made for the command. Nothing but execve(2) happens under it
// before: any other call would kill the process here.
func TestFilterNeedAllowOnlyExecve(t *testing.T) {
	program := filepath.Join(filepath.Dir(initPath), "exits42")
	must(t, os.WriteFile(program, tinyProgram(exits42), 0o755))
	job := command("exits42")
	job.Env = list("PATH=/nonexistent:/root:" + filepath.Dir(initPath)) // more than one execve
	for name, c := range map[string]struct {
		exit         uint32
		code, signal int
	}{
		"execve and exit": {unix.SYS_EXIT_GROUP, 42, 0},
		"execve alone":    {unix.SYS_EXECVE, 0, int(unix.SIGSYS)}, // the control: the filter does kill
	} {
		job.Filter = filterOf(
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_EXECVE, Jt: 2},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: c.exit, Jt: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		)
		b := ready(t, engineOptions{flags: []string{"soft-nofile"}})
		must(t, b.start(job))
		if got := b.finish(""); got.Code != c.code || got.Signal != c.signal {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

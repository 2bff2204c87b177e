package seccomp

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	opReturn = unix.BPF_RET | unix.BPF_K
	opJump   = unix.BPF_JMP | unix.BPF_JA
)

// instruction is a program of one struct sock_filter (linux/filter.h).
func instruction(code uint16, jt, jf uint8, k uint32) Program {
	i := binary.NativeEndian.AppendUint16(nil, code)
	return binary.NativeEndian.AppendUint32(append(i, jt, jf), k)
}

// then makes one program of two: where p ends with the verdict from, next
// decides. In classic BPF only the unconditional jump has a 32-bit offset, so
// each such return becomes that jump, and no other instruction changes.
func (p Program) then(from Action, next Program) Program {
	joined := slices.Concat(p, next)
	for at := 0; at < len(p); at += instructionSize {
		instruction := joined[at : at+instructionSize]
		k := instruction[4:]
		if binary.NativeEndian.Uint16(instruction) == opReturn && Action(binary.NativeEndian.Uint32(k)) == from {
			binary.NativeEndian.PutUint16(instruction, opJump)
			// A jump of 0 goes to the next instruction.
			binary.NativeEndian.PutUint32(k, uint32((len(p)-at)/instructionSize-1))
		}
	}
	return joined
}

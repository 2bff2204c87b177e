package seccomp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/bpf"
)

// instructionSize is that of struct sock_filter: code u16, jt u8, jf u8,
// k u32, in the byte order of the machine (linux/filter.h).
const instructionSize = 8

// maxInstructions is BPF_MAXINSNS, the longest program the kernel takes.
const maxInstructions = 4096

// Data is struct seccomp_data of seccomp(2): what a filter sees of a call.
type Data struct {
	Nr   int32
	Arch uint32 // AUDIT_ARCH_*
	IP   uint64
	Args [6]uint64
}

// Instructions is the length of the program.
func (p Program) Instructions() int { return len(p) / instructionSize }

// Simulate runs the program on one call the way the kernel would, on a
// little-endian machine, and returns its verdict. An error means that the
// program is not one.
func Simulate(p Program, d Data) (Action, error) {
	instructions, err := p.decode()
	if err != nil {
		return 0, err
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		return 0, fmt.Errorf("load program: %w", err)
	}
	verdict, err := vm.Run(d.image())
	if err != nil {
		return 0, fmt.Errorf("run program: %w", err)
	}
	return Action(uint32(verdict)), nil
}

func (p Program) decode() ([]bpf.Instruction, error) {
	if len(p) == 0 || len(p)%instructionSize != 0 || p.Instructions() > maxInstructions {
		return nil, fmt.Errorf("decode program: %d bytes are not 1 to %d instructions of %d", len(p), maxInstructions, instructionSize)
	}
	decoded := make([]bpf.Instruction, 0, p.Instructions())
	for raw := []byte(p); len(raw) > 0; raw = raw[instructionSize:] {
		decoded = append(decoded, bpf.RawInstruction{
			Op: binary.NativeEndian.Uint16(raw),
			Jt: raw[2],
			Jf: raw[3],
			K:  binary.NativeEndian.Uint32(raw[4:]),
		}.Disassemble())
	}
	return decoded, nil
}

// image lays the call out for a machine that loads words in network order,
// as that of x/net/bpf does: each word swapped, the low word of a 64-bit
// field still first.
func (d Data) image() []byte {
	image := binary.BigEndian.AppendUint32(nil, uint32(d.Nr))
	image = binary.BigEndian.AppendUint32(image, d.Arch)
	for _, field := range append([]uint64{d.IP}, d.Args[:]...) {
		image = binary.BigEndian.AppendUint32(image, uint32(field))
		image = binary.BigEndian.AppendUint32(image, uint32(field>>32))
	}
	return image
}

package registers

import "golang.org/x/sys/cpu"

func clearAll() {
	if cpu.X86.HasAVX {
		clearAVX()
	} else {
		clearSSE()
	}
}

func clearAVX()

func clearSSE()

package seccomp

import (
	"fmt"
	"runtime"
	"slices"
)

// oldestKernel is the oldest that creel runs on: openat2(2) is of Linux 5.6.
// A rule for that or an older kernel applies everywhere; one for a newer
// kernel would make the same file mean different things on two machines.
var oldestKernel = [2]int{5, 6}

// gate is Docker's includes or excludes: what a rule depends on.
type gate struct {
	caps, arches []string
	minKernel    bool // one that every supported kernel has
}

// includes reports whether a rule that needs all of this applies to a
// sandbox, which has no capabilities.
func (g gate) includes() bool {
	return len(g.caps) == 0 && (len(g.arches) == 0 || slices.Contains(g.arches, runtime.GOARCH))
}

// excludes reports whether a rule that any of this switches off is off.
func (g gate) excludes() bool {
	return g.minKernel || slices.Contains(g.arches, runtime.GOARCH)
}

func (p *parser) gate(n node, key string) gate {
	var g gate
	p.object(n, key, fields{
		"caps":      func(n node, key string) { g.caps = p.texts(n, key) },
		"arches":    func(n node, key string) { g.arches = p.texts(n, key) },
		"minKernel": func(n node, key string) { g.minKernel = p.minKernel(n, key) },
	})
	return g
}

// minKernel reads "4.8" and accepts only what every supported kernel meets.
func (p *parser) minKernel(n node, key string) bool {
	text := p.text(n, key)
	var kernel, major int
	// Printing it back refuses signs, spaces and text after the numbers.
	if _, err := fmt.Sscanf(text, "%d.%d", &kernel, &major); err != nil || fmt.Sprintf("%d.%d", kernel, major) != text {
		p.add(n.line, key, "%q is not KERNEL.MAJOR, such as 4.8", text)
		return false
	}
	if slices.Compare([]int{kernel, major}, oldestKernel[:]) > 0 {
		p.add(n.line, key, "is newer than %d.%d, the oldest kernel creel runs on: write a profile that does not depend on the kernel", oldestKernel[0], oldestKernel[1])
		return false
	}
	return true
}

// nativeArchitecture is the name libseccomp and the OCI specification have
// for each architecture creel is built for.
var nativeArchitecture = map[string]string{"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}[runtime.GOARCH]

// architectures accepts a list that holds the native one. The others on it
// are not opened: foreign ABIs are killed whatever a profile says.
func (p *parser) architectures(n node, key string, list []string) {
	if len(list) > 0 && !slices.Contains(list, nativeArchitecture) {
		p.add(n.line, key, "lacks %s, the architecture of this machine", nativeArchitecture)
	}
}

func (p *parser) archMap(n node, key string) {
	var list []string
	p.each(n, key, func(n node, key string) {
		p.object(n, key, fields{
			"architecture":     func(n node, key string) { list = append(list, p.text(n, key)) },
			"subArchitectures": func(n node, key string) { p.texts(n, key) },
		})
	})
	p.architectures(n, key, list)
}

package policy

import (
	"path/filepath"
	"testing"
)

// BenchmarkParseFiles is one reload of each good file, by itself.
func BenchmarkParseFiles(b *testing.B) {
	for _, file := range samples(b, "good", 3) {
		data := read(b, file)
		b.Run(filepath.Base(file), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if p, problems := Parse(file, data); p == nil {
					b.Fatal(lines(problems))
				}
			}
		})
	}
}

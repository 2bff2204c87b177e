package image

import "testing"

// BenchmarkResolve is what a sandbox's start pays for its image.
func BenchmarkResolve(b *testing.B) {
	s, err := Open(b.TempDir() + "/images")
	if err != nil {
		b.Fatal(err)
	}
	s.add(b, idA, "tools:1", "tools@"+digestM)
	for b.Loop() {
		image, err := s.Resolve("tools@" + digestM)
		if err != nil {
			b.Fatal(err)
		}
		if err := image.Release(); err != nil {
			b.Fatal(err)
		}
	}
}

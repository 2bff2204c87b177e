package credential

import "testing"

func BenchmarkHelper(b *testing.B) {
	provider, err := NewExec()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := provider.Fetch(b.Context(), Ask{Reference: "/usr/bin/printf long-enough"}); err != nil {
			b.Fatal(err)
		}
	}
}

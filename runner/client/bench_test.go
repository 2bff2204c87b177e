package client_test

import (
	"testing"

	"github.com/creel-sandbox/creel/runner/client"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// counter is an output that is no file.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func BenchmarkOutputToAWriter(b *testing.B) {
	c := serve(b, &servertest.Host{})
	const size = 64 << 20
	b.SetBytes(size)
	for b.Loop() {
		var got counter
		if _, err := c.Exec(b.Context(), &client.Exec{Request: shell("head -c 67108864 /dev/zero"), Stdout: &got}); err != nil || got.n != size {
			b.Fatalf("%d bytes, %v", got.n, err)
		}
	}
}

func BenchmarkVersion(b *testing.B) {
	c := serve(b, &servertest.Host{})
	for b.Loop() {
		if _, err := c.Version(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

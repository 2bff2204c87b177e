package docker

import (
	"fmt"
	"testing"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// BenchmarkSandbox measures each part of a sandbox's life by itself.
func BenchmarkSandbox(b *testing.B) {
	r := realRig(b)
	p := r.policy(hostRoot)
	for part := range 3 {
		b.Run([]string{"prepare", "create", "remove"}[part], func(b *testing.B) {
			timed := func(which int, f func()) {
				if which == part {
					b.StartTimer()
				}
				f()
				b.StopTimer()
			}
			b.StopTimer()
			for i := range b.N {
				id := fmt.Sprintf("part%dn%d", part, i)
				root := r.prepare(p)
				check(b, root.Release())
				timed(0, func() { root = r.prepare(p) })
				timed(1, func() {
					sandbox, err := r.Create(b.Context(), request(id, p, root))
					check(b, err)
					session, err := initproto.NewSupervisor(sandbox.Control)
					check(b, err)
					_, err = session.Handshake(b.Context(), initproto.Setup{})
					check(b, err)
					check(b, session.Close())
					check(b, sandbox.Pidfd.Close())
				})
				timed(2, func() { check(b, r.Remove(b.Context(), id)) })
				check(b, root.Release())
			}
		})
	}
}

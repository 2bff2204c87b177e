package spec

import (
	"encoding/json"
	"testing"

	"github.com/creel-sandbox/creel/policy"
)

// BenchmarkBuild is what a launch pays for its configuration: made of the
// policy, and encoded for the runtime.
func BenchmarkBuild(b *testing.B) {
	floor, err := Floor()
	if err != nil {
		b.Fatal(err)
	}
	for name, p := range map[string]*policy.Policy{"minimal": minimal(), "everything": everything()} {
		in := Input{Policy: p, UID: 1001, GID: 1002, Rootfs: "/run/creel/roots/1", CgroupsPath: "/creel/x/0123456789ab",
			Init: "/.creel/init", Seccomp: floor, InitFiles: initFiles}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if config := Build(in); config.Process == nil {
					b.Fatal("no process")
				}
			}
		})
		b.Run(name+"/encoded", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data, err := json.Marshal(Build(in))
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(data)))
			}
		})
	}
}

func BenchmarkFloor(b *testing.B) {
	for b.Loop() {
		if _, err := Floor(); err != nil {
			b.Fatal(err)
		}
	}
}

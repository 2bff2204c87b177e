package seccomp

import (
	"runtime"
	"testing"
	"time"
)

func BenchmarkCompileDefault(b *testing.B) { benchmarkCompile(b, defaultProfile(b)) }
func BenchmarkCompileFloor(b *testing.B)   { benchmarkCompile(b, floorProfile(b)) }

func benchmarkCompile(b *testing.B, profile *Profile) {
	for b.Loop() {
		program := mustCompile(b, profile)
		b.ReportMetric(float64(program.Instructions()), "instructions")
	}
}

func BenchmarkParseDefault(b *testing.B) {
	for b.Loop() {
		defaultProfile(b)
	}
}

func BenchmarkInstallDefault(b *testing.B) { benchmarkInstall(b, defaultProfile(b)) }
func BenchmarkInstallFloor(b *testing.B)   { benchmarkInstall(b, floorProfile(b)) }

// benchmarkInstall is what one invocation pays between its job and execve:
// the kernel checks, translates and tries the program. Each filter goes on a
// thread that ends with its goroutine, which never unlocks it.
func benchmarkInstall(b *testing.B, profile *Profile) {
	program := mustCompile(b, profile)
	var spent time.Duration
	failed := make(chan error)
	for b.Loop() {
		go func() {
			runtime.LockOSThread()
			start := time.Now()
			err := load(program, 0)
			spent += time.Since(start)
			failed <- err
		}()
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/install")
}

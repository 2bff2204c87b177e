package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// stdioOfNull is stdio that needs nobody to read it.
func stdioOfNull(b *testing.B) [3]syscall.Conn {
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	must(b, err)
	b.Cleanup(func() { null.Close() })
	return [3]syscall.Conn{null, null, null}
}

// BenchmarkStart measures from the job sent to Started received: execve(2) of
// the command included, with a second filter. Sandboxes are made and ended
// outside of the measured time.
func BenchmarkStart(b *testing.B) {
	benchmark(b, func(box *box, job initproto.Job, stdio [3]syscall.Conn) {
		b.StartTimer()
		err := box.Start(box.context(), job, stdio)
		b.StopTimer()
		must(b, err)
		_, err = box.Wait()
		must(b, err)
	})
}

// BenchmarkStartToExit measures from the job sent to Exit received.
func BenchmarkStartToExit(b *testing.B) {
	benchmark(b, func(box *box, job initproto.Job, stdio [3]syscall.Conn) {
		b.StartTimer()
		must(b, box.Start(box.context(), job, stdio))
		_, err := box.Wait()
		b.StopTimer()
		must(b, err)
	})
}

func benchmark(b *testing.B, one func(*box, initproto.Job, [3]syscall.Conn)) {
	stdio, job := stdioOfNull(b), command("/bin/true")
	job.Filter = refusing(unix.SYS_SYSINFO, eperm)
	b.ResetTimer()
	b.StopTimer()
	for range b.N {
		box := ready(b, engineOptions{})
		one(box, job, stdio)
		box.end()
	}
}

// BenchmarkReady measures from the start of the process, with the stand-in
// engine's own work, to Ready.
func BenchmarkReady(b *testing.B) {
	for range b.N {
		box := ready(b, engineOptions{})
		b.StopTimer()
		box.end()
		b.StartTimer()
	}
}

// BenchmarkPlainForkExec is the yardstick: the same command by os/exec, to its
// end, without any sandbox.
func BenchmarkPlainForkExec(b *testing.B) {
	for range b.N {
		must(b, exec.Command("/bin/true").Run())
	}
}

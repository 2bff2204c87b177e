package initproto

import (
	"bytes"
	"fmt"
	"testing"
)

// benchJob is a job as commands have them: a shell, some variables, a filter
// as large as that of the default profile, and as many bytes of arguments.
func benchJob(argument int) Job {
	job := Job{
		Argv: [][]byte{[]byte("sh"), []byte("-c"), bytes.Repeat([]byte("a"), argument)}, Cwd: "/workspace",
		Filter: bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 1000),
	}
	for i := range 20 {
		job.Env = append(job.Env, fmt.Appendf(nil, "VARIABLE_%d=value %d", i, i))
	}
	return job
}

// BenchmarkJob is the largest frame of an invocation, there and back.
func BenchmarkJob(b *testing.B) {
	for _, argument := range []int{100, 1 << 16} {
		b.Run(fmt.Sprint(argument), func(b *testing.B) {
			job := benchJob(argument)
			b.ReportAllocs()
			for b.Loop() {
				body, err := job.Encode()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := DecodeJob(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFrames is every other frame, there and back.
func BenchmarkFrames(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		for typ, c := range codecs {
			if typ == TypeJob {
				continue
			}
			body, err := c.encode()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.decode(body); err != nil {
				b.Fatal(err)
			}
		}
	}
}

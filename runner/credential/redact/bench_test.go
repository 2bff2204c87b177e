package redact

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// The kinds of output that the redactor is measured on.
func corpora() map[string][]byte {
	const size = 4 << 20
	random := rand.NewChaCha8([32]byte{1})
	noise := make([]byte, size)
	_, _ = random.Read(noise)
	var text bytes.Buffer
	words := strings.Fields("the error of package main in function github.com/example/token returned 0x1f (line 42): -----BEGIN eyJhbGciOi ghp_ warning")
	for rng := rand.New(random); text.Len() < size; {
		text.WriteString(words[rng.IntN(len(words))])
		text.WriteByte(" \n"[rng.IntN(8)/7])
	}
	values := benchValues(3)
	return map[string][]byte{
		"random":    noise,
		"text":      text.Bytes()[:size],
		"zeros":     make([]byte, size),
		"prefixes":  bytes.Repeat([]byte(values[0][:len(values[0])-1]), size/len(values[0])), // hostile: nearly the value
		"secrets":   bytes.Repeat([]byte(values[0]+" and "+values[1]+"\n"), size/100),
		"one value": append(noise[:size/2:size/2], values[0]...),
	}
}

func benchValues(n int) []string {
	values := []string{
		"ghp_16C7e42F292c6912E7710c838347Ae178B4a",
		"sk-proj-Zx81kPqW0aLmN3bV5cX7yU9iO2eR4tQ6",
		"-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n", 28) + "-----END PRIVATE KEY-----",
	}
	for i := len(values); i < n; i++ {
		values = append(values, fmt.Sprintf("token-%d-%x", i, i*7919*104729))
	}
	return values[:n]
}

// BenchmarkScan is the search alone.
func BenchmarkScan(b *testing.B) {
	for name, data := range corpora() {
		for _, n := range []int{1, 3, 32} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(name, " ", "-"), n), func(b *testing.B) {
				r := NewRedactor(io.Discard, matcher(b, benchValues(n)...))
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					for at := 0; at < len(data); at += 32 << 10 {
						_, _ = r.Write(data[at:min(at+32<<10, len(data))])
					}
				}
			})
		}
	}
	for name, value := range map[string]string{"eight-byte-value": "8bytes!!", "password": "x9$Kq!2v@Lm#4Tz&", "symbols": "!@#$%^&*()_+=-[]"} {
		b.Run(name, func(b *testing.B) {
			data := corpora()["text"]
			r := NewRedactor(io.Discard, matcher(b, value))
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				_, _ = r.Write(data)
			}
		})
	}
}

func BenchmarkNewMatcher(b *testing.B) {
	b.Run("many-lines", func(b *testing.B) {
		var value strings.Builder
		for i := 0; value.Len() < maxValue-100; i++ {
			fmt.Fprintf(&value, "line %d of %x\n", i, i*7919*104729)
		}
		b.ReportAllocs()
		for b.Loop() {
			matcher(b, value.String()).Destroy()
		}
	})
	for _, n := range []int{1, 3, 32} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			values := named(benchValues(n)...)
			b.ReportAllocs()
			for b.Loop() {
				m, err := NewMatcher(values)
				if err != nil {
					b.Fatal(err)
				}
				m.Destroy()
			}
		})
	}
}

// BenchmarkPipe is 1 GiB of text through a pipe, and through a pipe, the
// redactor and another pipe.
func BenchmarkPipe(b *testing.B) {
	const size = 1 << 30
	data := corpora()["text"]
	produce := func(w *os.File) {
		for sent := 0; sent < size; sent += len(data) {
			_, _ = w.Write(data)
		}
		_ = w.Close()
	}
	consume := func(r *os.File) (n int64) {
		buffer := make([]byte, 64<<10)
		for {
			count, err := r.Read(buffer)
			n += int64(count)
			if err != nil {
				return n
			}
		}
	}
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			r, w, _ := os.Pipe()
			go produce(w)
			if n := consume(r); n != size {
				b.Fatal(n)
			}
			_ = r.Close()
		}
	})
	b.Run("redacted", func(b *testing.B) {
		b.SetBytes(size)
		m := matcher(b, benchValues(3)...)
		for b.Loop() {
			r, w, _ := os.Pipe()
			onward, out, _ := os.Pipe()
			go produce(w)
			go func() {
				redactor := NewRedactor(out, m)
				_, _ = io.CopyBuffer(struct{ io.Writer }{redactor}, struct{ io.Reader }{r}, make([]byte, 64<<10))
				_ = redactor.Close()
				_ = out.Close()
			}()
			if n := consume(onward); n != size {
				b.Fatal(n)
			}
			_, _ = r.Close(), onward.Close()
		}
	})
}

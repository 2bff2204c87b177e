package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/runner/client"
)

// The output of the throughput rows: text of textSize bytes, textRepeats
// times, 1 GiB in all, written by dd in blocks of 64 KiB as a pipe holds.
const (
	textSize    = 64 << 20
	textRepeats = 16
)

// stream is one way for output to go.
type stream struct {
	name string
	do   func(context.Context, io.Writer) error
	rate []float64
	note string
}

// measureThroughput has a command write 1 GiB, and reads it here, 64 KiB at a
// time, in every row.
func (b *bench) measureThroughput(ctx context.Context) {
	c := b.rig("crun")
	if c == nil {
		b.report.unmeasured("throughput", "there is no supervisor with crun")
		return
	}
	b.tb.Check(writeText(c.Workspace + "/text"))
	b.tb.Cleanup(func() { os.Remove(c.Workspace + "/text") })
	writer := func(dir string) []string {
		script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do "$0" dd if=%s/text bs=64k 2>/dev/null || exit; i=$((i+1)); done`, textRepeats, dir)
		return []string{"sh", "-c", script, b.busybox}
	}
	api := func(policy string) func(context.Context, io.Writer) error {
		return func(ctx context.Context, to io.Writer) error {
			return c.run(ctx, &client.Exec{Request: b.request(policy, writer("/workspace")...), Stdout: to})
		}
	}
	shell := func(policy string) func(context.Context, io.Writer) error {
		cmd := c.Command(append([]string{"exec", "--policy", policy, "--", b.busybox}, writer("/workspace")...)...)
		return func(_ context.Context, to io.Writer) error {
			return b.pipe(append([]string{cmd.Path}, cmd.Args[1:]...), cmd.Env, to)
		}
	}
	streams := []*stream{
		{name: plainPipe, do: func(_ context.Context, to io.Writer) error {
			return b.pipe(append([]string{b.busybox}, writer(c.Workspace)...), nil, to)
		}},
		{name: streamAPI, do: api(cold)}, {name: redactedAPI, do: api(redacted)},
		{name: "creel, from the shell", do: shell(cold)}, {name: "creel, redacted, from the shell", do: shell(redacted)},
	}
	for range b.repeats {
		for _, s := range streams {
			if ctx.Err() == nil && s.note == "" {
				b.still(ctx)
				s.measure(ctx)
			}
		}
	}
	for _, s := range streams {
		row := ThroughputRow{Stream: s.name, N: len(s.rate), Note: s.note}
		if len(s.rate) > 0 {
			row.MiBps, row.Repeats = middle(s.rate), s.rate
			row.Low, row.High = between10and90(s.rate)
		}
		b.report.Throughput = append(b.report.Throughput, row)
	}
}

// The names that goals refer to.
const (
	plainPipe   = "a plain pipe"
	streamAPI   = "creel, API"
	redactedAPI = "creel, redacted, API"
)

func (s *stream) measure(ctx context.Context) {
	var got counter
	began := time.Now()
	err := s.do(ctx, &got)
	took := time.Since(began)
	switch {
	case err != nil:
		s.note = err.Error()
	case got.n != textSize*textRepeats:
		s.note = fmt.Sprintf("%d bytes came of %d", got.n, textSize*textRepeats)
	default:
		s.rate = append(s.rate, float64(got.n>>20)/took.Seconds())
	}
}

// pipe runs a program whose standard output is read here.
func (b *bench) pipe(argv, env []string, to io.Writer) error {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	process, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Env: env, Files: []*os.File{b.null, theirs, b.complain}})
	theirs.Close()
	if err != nil {
		return err
	}
	_, copyErr := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{ours}, make([]byte, 64<<10))
	state, err := process.Wait()
	switch {
	case err != nil:
		return err
	case !state.Success():
		return fmt.Errorf("%s: %v: %s", argv[0], state, b.complaint())
	}
	return copyErr
}

// writeText writes what looks like the output of tools, since what a redactor
// costs depends on what it reads.
func writeText(path string) error {
	words := strings.Fields("the error of package main in function github.com/example/token returned 0x1f (line 42): BEGIN bench warning")
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < textSize {
		text.WriteString(words[random.IntN(len(words))])
		text.WriteByte(" \n"[random.IntN(8)/7])
	}
	return os.WriteFile(filepath.Clean(path), text.Bytes()[:textSize], 0o644)
}

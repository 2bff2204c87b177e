package supervisor

import (
	"context"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
)

// A command that writes a byte at a time, to one stream or to both in turn,
// makes the supervisor hold little more than what is kept.
func TestTailOfSmallWritesIsSmall(t *testing.T) {
	const keep = 64 << 10
	for name, streams := range map[string][]string{"one": {"stdout"}, "both": {"stdout", "stderr"}} {
		tl := newTail(keep)
		for i := range 2 * keep {
			_, _ = tl.stream(streams[i%len(streams)]).Write([]byte{'a' + byte(i%26)})
		}
		held := 0
		for _, c := range tl.chunks {
			held += cap(c.Data) + 50
		}
		if held > 2*keep || len(streams) == 1 && tl.size < keep*7/8 {
			t.Errorf("%s: %d bytes held for %d kept of %d", name, held, tl.size, keep)
		}
	}
}

// What is joined to a chunk that a reader already has would never reach it.
func TestFollowerMissesNoSmallWrite(t *testing.T) {
	tl := newTail(1 << 10)
	out := tl.stream("stdout")
	_, _ = out.Write([]byte("a"))
	var got strings.Builder
	err := tl.read(context.Background(), true, func(c api.LogChunk) error {
		got.Write(c.Data)
		switch got.Len() {
		case 1, 2:
			_, _ = out.Write([]byte("b"))
		default:
			tl.close()
		}
		return nil
	})
	if err != nil || got.String() != "abb" {
		t.Errorf("got %q, %v", got.String(), err)
	}
	if len(tl.chunks) != 3 {
		t.Errorf("%d chunks, want one for each that was taken", len(tl.chunks))
	}
}

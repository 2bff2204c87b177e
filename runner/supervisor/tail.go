package supervisor

import (
	"context"
	"io"
	"sync"

	"github.com/creel-sandbox/creel/runner/api"
)

// tail keeps the end of an invocation's output in memory, and only there.
type tail struct {
	keep int64

	mu     sync.Mutex
	chunks []api.LogChunk
	first  int // how many chunks were dropped before chunks[0]
	taken  int // no reader has taken chunks from this one on
	size   int64
	closed bool
	grown  chan struct{} // closed and replaced at each change
}

func newTail(keep int64) *tail { return &tail{keep: keep, grown: make(chan struct{})} }

// stream is a writer that keeps what one stream wrote.
func (t *tail) stream(name string) io.Writer { return tailStream{t, name} }

type tailStream struct {
	tail *tail
	name string
}

func (w tailStream) Write(p []byte) (int, error) {
	t := w.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	data := append([]byte(nil), p[max(0, len(p)-int(t.keep)):]...)
	if !t.join(w.name, data) {
		t.chunks = append(t.chunks, api.LogChunk{Stream: w.name, Data: data})
	}
	t.size += int64(len(data))
	for t.size > t.keep || int64(len(t.chunks)) > fewChunks+t.keep/meanChunk {
		t.size -= int64(len(t.chunks[0].Data))
		t.chunks[0].Data = nil
		t.chunks = t.chunks[1:]
		t.first++
	}
	t.changed()
	return len(p), nil
}

// A chunk costs some 50 bytes besides its data. So that a command that writes
// a byte at a time cannot make the supervisor hold many times what is kept,
// small writes are joined, and there are no more chunks than these allow.
const (
	fewChunks   = 16
	meanChunk   = 64      // bytes
	joinedChunk = 4 << 10 // bytes at most
)

// join adds data to the last chunk where that is of the same stream, stays
// small, and is in no reader's hands.
func (t *tail) join(stream string, data []byte) bool {
	last := len(t.chunks) - 1
	if last < 0 || t.first+last < t.taken || t.chunks[last].Stream != stream ||
		int64(len(t.chunks[last].Data)+len(data)) > min(t.keep/8, joinedChunk) {
		return false
	}
	t.chunks[last].Data = append(t.chunks[last].Data, data...)
	return true
}

// close ends those who follow.
func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.changed()
}

func (t *tail) changed() {
	close(t.grown)
	t.grown = make(chan struct{})
}

// read emits what is kept and, when following, what comes until the end.
// A follower that is too slow misses what was dropped meanwhile.
func (t *tail) read(ctx context.Context, follow bool, emit func(api.LogChunk) error) error {
	next := 0
	for {
		t.mu.Lock()
		next = max(next, t.first)
		fresh := append([]api.LogChunk(nil), t.chunks[next-t.first:]...)
		next += len(fresh)
		t.taken = max(t.taken, next)
		closed, grown := t.closed, t.grown
		t.mu.Unlock()
		for _, chunk := range fresh {
			if err := emit(chunk); err != nil {
				return err
			}
		}
		if closed || !follow {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

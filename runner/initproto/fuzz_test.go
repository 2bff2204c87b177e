package initproto

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"
)

// FuzzBodies: a decoder never panics, and what it accepts encodes to the same
// bytes again, so there is one encoding of each value.
func FuzzBodies(f *testing.F) {
	for typ, c := range codecs {
		body, _ := hex.DecodeString(c.golden)
		f.Add(byte(typ), body)
	}
	f.Fuzz(func(t *testing.T, typ byte, body []byte) {
		c, ok := codecs[Type(typ)]
		if !ok {
			return
		}
		value, err := c.decode(bytes.Clone(body))
		if err != nil {
			return
		}
		var again []byte
		switch v := value.(type) {
		case interface{ Encode() []byte }:
			again = v.Encode()
		case interface{ Encode() ([]byte, error) }:
			if again, err = v.Encode(); err != nil {
				t.Fatalf("%+v was decoded and cannot be encoded", value)
			}
		}
		if !bytes.Equal(again, body) {
			t.Errorf("%s is another encoding of %v, %+v", hex.EncodeToString(body), reflect.TypeOf(value), value)
		}
	})
}

// feed sends a stream, cut in pieces by its own bytes, with descriptors on
// some of them, and closes.
func feed(t testing.TB, fd int, stream []byte) {
	for len(stream) > 1 {
		n := min(1+int(stream[0])%64, len(stream)-1)
		with := max(int(stream[0])/64-1, 0) * 2 // mostly none
		sendSome(t, fd, stream[1:1+n], with)
		stream = stream[1+n:]
	}
	must(t, syscall.Close(fd))
}

// sendSome sends unless the other end is gone already.
func sendSome(t testing.TB, fd int, data []byte, with int) {
	fds := nulls(t, with)
	defer CloseAll(fds)
	var oob []byte
	if with > 0 {
		oob = syscall.UnixRights(fds...)
	}
	syscall.Sendmsg(fd, data, oob, nil, syscall.MSG_NOSIGNAL)
}

// stream turns frames into what feed takes apart again.
func stream(frames ...string) []byte {
	var out []byte
	for _, f := range frames {
		raw, _ := hex.DecodeString(f)
		for len(raw) > 0 {
			n := min(64, len(raw))
			out = append(append(out, byte(n-1)), raw[:n]...)
			raw = raw[n:]
		}
	}
	return out
}

// FuzzSupervisor: whatever a sandbox sends, the supervisor's end comes to an
// end, in order, and keeps no descriptor.
func FuzzSupervisor(f *testing.F) {
	hello, listeners, ready := "01000000020001", "0300000000", "040000000400000002"
	started, failed := "0600000000", "07000000050800000002"
	exit := "0a0000001a" + codecs[TypeExit].golden
	f.Add(stream(hello, listeners, ready, started, exit))
	f.Add(stream(hello, listeners, ready, failed))
	f.Add(stream(failed))
	f.Add(stream(hello, hello))
	f.Add([]byte{200, 1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<15 {
			return
		}
		ours, theirs := socketPair(t)
		before := openFDs(t) - 2
		must(t, syscall.SetNonblock(ours, true))
		s, err := NewSupervisor(os.NewFile(uintptr(ours), "control"))
		must(t, err)
		done := beside(func() error { feed(t, theirs, data); return nil })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		fds, err := s.Handshake(ctx, Setup{})
		if err == nil {
			err = s.Start(ctx, fullJob, stdio())
		}
		if err == nil {
			_, _ = s.Wait() // how it ended is the sandbox's word, and any will do
		}
		if ctx.Err() != nil {
			t.Error("the supervisor waits for a sandbox that is gone")
		}
		CloseAll(fds)
		s.Close()
		<-done
		if err := s.Signal(1); err != ErrOrder {
			t.Errorf("the session goes on: %v", err)
		}
		if after := openFDs(t); after != before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

// FuzzInit: whatever a supervisor sends, the init takes at most one job and
// keeps no descriptor but that job's.
func FuzzInit(f *testing.F) {
	setup, signal, resize := "020000000100", "080000000"+"10f", "090000000400010002"
	f.Add(stream(setup), stream(signal, resize))
	f.Add(stream(setup, setup), []byte{})
	f.Add([]byte{}, stream(setup))
	f.Fuzz(func(t *testing.T, first, then []byte) {
		if len(first)+len(then) > 1<<15 {
			return
		}
		ours, theirs := socketPair(t)
		before := openFDs(t) - 2
		i := NewInit(ours)
		body, err := fullJob.Encode()
		must(t, err)
		done := beside(func() error {
			for part := first; len(part) > 1; part = nil {
				sendSome(t, theirs, part[1:], int(part[0])%4)
			}
			fds := nulls(t, 3)
			err := NewConn(theirs).Send(Frame{TypeJob, body, fds})
			CloseAll(fds)
			feed(t, theirs, then)
			return err
		})
		i.Hello()
		i.Setup()
		i.Listeners(nil)
		i.Ready()
		if _, f, err := i.Job(); err == nil {
			CloseAll(f.FDs)
			i.Started()
			for err == nil {
				_, _, err = i.Control()
			}
			if _, _, err := i.Job(); err != ErrOrder {
				t.Errorf("a second job: %v", err)
			}
		}
		syscall.Close(ours)
		<-done
		if after := openFDs(t); after != before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

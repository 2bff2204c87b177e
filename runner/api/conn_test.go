package api

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pair returns a Conn and the raw other end.
func pair(t testing.TB) (*Conn, *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	conn, err := NewConn(a)
	if err != nil {
		t.Fatal(err)
	}
	return conn, b
}

func frame(v any) []byte {
	body, _ := json.Marshal(v)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// sendRaw sends data with n descriptors of the null device on its first byte.
func sendRaw(t *testing.T, to *os.File, data []byte, n int) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var descriptors []int
	for range n {
		descriptors = append(descriptors, int(null.Fd()))
	}
	raw, _ := to.SyscallConn()
	raw.Write(func(fd uintptr) bool {
		if _, err = syscall.SendmsgN(int(fd), data, rights(descriptors), nil, 0); err == syscall.EAGAIN {
			return false
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestMessageAndDescriptorsArriveWhole(t *testing.T) {
	a, b := pair(t)
	peer, err := NewConn(b)
	if err != nil {
		t.Fatal(err)
	}
	big := ExecRequest{Policy: "p", Argv: [][]byte{bytes.Repeat([]byte{0xff, 0}, 1<<20)}}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	sent := make(chan error, 1)
	go func() {
		fd := int(null.Fd())
		sent <- errors.Join(peer.Send(big, fd, fd, fd), peer.Send(Control{Signal: 2}))
	}()
	var got ExecRequest
	files, err := a.Receive(&got, 3)
	if err != nil || len(files) != 3 || !bytes.Equal(got.Argv[0], big.Argv[0]) {
		t.Fatalf("received %d files, error %v", len(files), err)
	}
	defer closeAll(files)
	for _, file := range files {
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, file.Fd(), syscall.F_GETFD, 0)
		if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("a received descriptor is inherited by children (flags %#x, %v)", flags, errno)
		}
	}
	var control Control
	if _, err := a.Receive(&control); err != nil || control.Signal != 2 {
		t.Fatalf("second message: %+v, %v", control, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := a.Receive(&control); err != io.EOF {
		t.Fatalf("after close: %v, want io.EOF", err)
	}
}

func TestUnexpectedDescriptorsAreRefusedAndClosed(t *testing.T) {
	message := frame(Control{Signal: 2})
	for name, test := range map[string]struct {
		onFirst, onLater int
		want             []int
		refused          bool
	}{
		"none wanted, none came":  {},
		"three wanted and came":   {onFirst: 3, want: []int{3}},
		"three wanted, none came": {want: []int{3}}, // the caller's to judge: it knows the route
		"one where none belongs":  {onFirst: 1, refused: true},
		"two where three belong":  {onFirst: 2, want: []int{3}, refused: true},
		"four where three belong": {onFirst: 4, want: []int{3}, refused: true},
		"253, as many as can be":  {onFirst: 253, want: []int{3}, refused: true},
		"on a later byte":         {onFirst: 3, onLater: 3, want: []int{3}, refused: true},
		"on a later byte alone":   {onLater: 3, want: []int{3}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := pair(t)
			before := openDescriptors(t)
			sendRaw(t, peer, message[:1], test.onFirst)
			sendRaw(t, peer, message[1:], test.onLater)
			var control Control
			files, err := conn.Receive(&control, test.want...)
			closeAll(files)
			if test.refused != errors.Is(err, ErrDescriptors) || (err != nil) != test.refused {
				t.Errorf("error %v, want refused %v", err, test.refused)
			}
			if !test.refused && len(files) != test.onFirst {
				t.Errorf("%d files, want %d", len(files), test.onFirst)
			}
			if after := openDescriptors(t); after != before {
				t.Errorf("%d descriptors open, %d before", after, before)
			}
		})
	}
}

func TestOnlyTheFirstMessageBringsDescriptors(t *testing.T) {
	message := frame(Control{Signal: 2})
	for name, together := range map[string]bool{"sent together": true, "sent apart": false} {
		t.Run(name, func(t *testing.T) {
			conn, peer := pair(t)
			before := openDescriptors(t)
			sendRaw(t, peer, message, 3)
			if together {
				sendRaw(t, peer, message, 3)
			}
			var control Control
			files, err := conn.Receive(&control, 3)
			closeAll(files)
			if !together && (err != nil || len(files) != 3) {
				t.Fatalf("positive control: %d files, %v", len(files), err)
			}
			if !together {
				sendRaw(t, peer, message, 3)
			}
			if err == nil {
				_, err = conn.Receive(&control, 3)
			}
			if !errors.Is(err, ErrDescriptors) {
				t.Errorf("error %v, want ErrDescriptors", err)
			}
			if after := openDescriptors(t); after != before {
				t.Errorf("%d descriptors open, %d before", after, before)
			}
		})
	}
}

func TestMessagesThatComeTogetherAreToldApart(t *testing.T) {
	conn, peer := pair(t)
	var stream []byte
	for i := range 300 { // more than is read at once
		stream = append(stream, frame(Control{Signal: i + 1})...)
	}
	sendRaw(t, peer, stream, 0)
	peer.Close()
	for i := range 300 {
		var control Control
		if _, err := conn.Receive(&control); err != nil || control.Signal != i+1 {
			t.Fatalf("message %d: %+v, %v", i, control, err)
		}
	}
	if _, err := conn.Receive(new(Control)); err != io.EOF {
		t.Errorf("after the last: %v, want io.EOF", err)
	}
}

func TestBadFramesAreRefused(t *testing.T) {
	good := frame(Control{Signal: 2})
	for name, test := range map[string]struct {
		data []byte
		want error
		text string
	}{
		"positive control": {data: good},
		"no message":       {data: nil, want: io.EOF},
		"half a length":    {data: good[:2], want: io.ErrUnexpectedEOF},
		"half a body":      {data: good[:7], want: io.ErrUnexpectedEOF},
		"4 GiB announced":  {data: []byte{0xff, 0xff, 0xff, 0xff}, want: ErrTooLarge},
		"one over bound":   {data: binary.BigEndian.AppendUint32(nil, MaxMessage+1), want: ErrTooLarge},
		"empty body":       {data: []byte{0, 0, 0, 0}, text: "EOF"},
		"not JSON":         {data: []byte{0, 0, 0, 1, 'x'}, text: "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, peer := pair(t)
			sendRaw(t, peer, test.data, 0)
			peer.Close()
			_, err := conn.Receive(new(Control))
			switch {
			case test.want == nil && test.text == "":
				if err != nil {
					t.Errorf("good frame refused: %v", err)
				}
			case err == nil, test.want != nil && !errors.Is(err, test.want), !strings.Contains(fmt.Sprint(err), test.text):
				t.Errorf("error %v, want %v %s", err, test.want, test.text)
			}
		})
	}
}

func TestStartedFrameMustEndInTime(t *testing.T) {
	conn, peer := pair(t)
	conn.FrameTimeout = time.Millisecond
	sendRaw(t, peer, frame(Control{Signal: 2})[:3], 0)
	if _, err := conn.Receive(new(Control)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a deadline", err)
	}
}

func TestMessageOverBoundIsNotSent(t *testing.T) {
	conn, peer := pair(t)
	err := conn.Send(ExecRequest{Argv: [][]byte{make([]byte, MaxMessage)}})
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("error %v, want ErrTooLarge", err)
	}
	conn.Close()
	if data, _ := io.ReadAll(peer); len(data) != 0 {
		t.Errorf("%d bytes were sent", len(data))
	}
}

// FuzzReceive feeds arbitrary bytes as a stream: no input may crash, hang or
// leave a half-read message behind as a good one.
func FuzzReceive(f *testing.F) {
	f.Add(frame(Request{Route: RouteExec, Body: []byte(`{"policy":"p"}`)}))
	f.Add([]byte{0, 0, 0, 2, '{', '}', 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > chunkSize {
			return
		}
		conn, peer := pair(t)
		peer.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := peer.Write(data); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		read := 0
		for {
			var request Request
			if _, err := conn.Receive(&request); err != nil {
				return
			}
			if read += headerSize; read > len(data) {
				t.Fatal("more messages than bytes")
			}
		}
	})
}

func BenchmarkReceiveExecRequest(b *testing.B) {
	conn, end := pair(b)
	peer, err := NewConn(end)
	if err != nil {
		b.Fatal(err)
	}
	request := ExecRequest{Policy: "exec-default", Argv: [][]byte{[]byte("/bin/true")}, Env: [][]byte{[]byte("A=b")}}
	for b.Loop() {
		if err := peer.Send(request); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Receive(new(ExecRequest)); err != nil {
			b.Fatal(err)
		}
	}
}

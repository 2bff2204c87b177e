package initproto

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"
)

// socketPair gives two blocking ends of a socket.
func socketPair(t testing.TB) (int, int) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	return pair[0], pair[1]
}

// openFDs counts the descriptors of this process.
func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// nulls gives n descriptors to send.
func nulls(t testing.TB, n int) []int {
	t.Helper()
	fds := make([]int, n)
	for i := range fds {
		fd, err := syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		must(t, err)
		fds[i] = fd
	}
	return fds
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// piece is bytes with descriptors, as one sendmsg.
type piece struct {
	data []byte
	fds  int
}

// sendPieces sends pieces as they are and closes the socket.
func sendPieces(t testing.TB, fd int, pieces []piece) {
	t.Helper()
	for _, p := range pieces {
		fds := nulls(t, p.fds)
		var oob []byte
		if len(fds) > 0 {
			oob = syscall.UnixRights(fds...)
		}
		must(t, syscall.Sendmsg(fd, p.data, oob, nil, 0))
		CloseAll(fds)
	}
	must(t, syscall.Close(fd))
}

func TestFramesOutsideTheRulesAreRefusedAndLeakNothing(t *testing.T) {
	ready := append([]byte{byte(TypeReady), 0, 0, 0, 4}, 0, 0, 0, 7)
	job := func(n int) []byte { return append([]byte{byte(TypeJob), 0, 0, 0, byte(n)}, make([]byte, n)...) }
	for name, c := range map[string]struct {
		pieces []piece
		want   error
	}{
		"sound":                      {[]piece{{ready, 0}}, nil},
		"sound with descriptors":     {[]piece{{job(9), 3}}, nil},
		"sound in single bytes":      {[]piece{{job(2)[:1], 3}, {job(2)[1:2], 0}, {job(2)[2:5], 0}, {job(2)[5:6], 0}, {job(2)[6:], 0}}, nil},
		"nothing":                    {nil, ErrGone},
		"unwanted type":              {[]piece{{[]byte{byte(TypeHello), 0, 0, 0, 0}, 0}}, ErrUnexpected},
		"unknown type":               {[]piece{{[]byte{0xff, 0, 0, 0, 0}, 0}}, ErrUnexpected},
		"type zero":                  {[]piece{{make([]byte, 5), 0}}, ErrUnexpected},
		"oversize":                   {[]piece{{[]byte{byte(TypeReady), 0, 0, 0x10, 0}, 0}}, ErrOversize},
		"largest length":             {[]piece{{[]byte{byte(TypeReady), 0xff, 0xff, 0xff, 0xff}, 0}}, ErrOversize},
		"oversize job":               {[]piece{{[]byte{byte(TypeJob), 0, 0x40, 0, 1}, 3}}, ErrOversize},
		"cut in the header":          {[]piece{{ready[:3], 0}}, ErrTruncated},
		"cut in the body":            {[]piece{{ready[:7], 0}}, ErrTruncated},
		"cut job with descriptors":   {[]piece{{job(9)[:8], 3}}, ErrTruncated},
		"surplus descriptors":        {[]piece{{job(9), 4}}, ErrDescriptors},
		"many descriptors":           {[]piece{{job(9), 250}}, ErrDescriptors},
		"missing descriptor":         {[]piece{{job(9), 2}}, ErrDescriptors},
		"no descriptors":             {[]piece{{job(9), 0}}, ErrDescriptors},
		"unwanted descriptor":        {[]piece{{ready, 1}}, ErrDescriptors},
		"descriptors in the body":    {[]piece{{job(9)[:5], 3}, {job(9)[5:], 1}}, ErrDescriptors},
		"descriptors piece by piece": {[]piece{{job(9)[:1], 3}, {job(9)[1:2], 1}, {job(9)[2:], 0}}, ErrDescriptors},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			before := openFDs(t)
			sendPieces(t, theirs, c.pieces)
			f, err := NewConn(ours).Receive(Want{Type: TypeReady}, Want{TypeJob, 3})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err == nil {
				checkCloseOnExec(t, f.FDs)
			}
			CloseAll(f.FDs)
			must(t, syscall.Close(ours))
			if after := openFDs(t); after != before-2 {
				t.Errorf("%d descriptors before, %d after", before-2, after)
			}
		})
	}
}

func checkCloseOnExec(t *testing.T, fds []int) {
	t.Helper()
	for _, fd := range fds {
		flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFD, 0)
		if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d would be inherited: %v", fd, errno)
		}
	}
}

func TestLargestJobPassesAndALargerOneIsNotSent(t *testing.T) {
	ours, theirs := socketPair(t)
	defer syscall.Close(ours)
	defer syscall.Close(theirs)
	body := bytes.Repeat([]byte{0xab}, MaxJob)
	sent := make(chan error, 1)
	fds := nulls(t, 3)
	defer CloseAll(fds)
	go func() { sent <- NewConn(theirs).Send(Frame{TypeJob, body, fds}) }()
	f, err := NewConn(ours).Receive(Want{TypeJob, 3})
	must(t, err)
	must(t, <-sent)
	CloseAll(f.FDs)
	if !bytes.Equal(f.Body, body) {
		t.Error("the body changed on its way")
	}
	for typ, size := range map[Type]int{TypeJob: MaxJob + 1, TypeReady: MaxBody + 1} {
		if err := NewConn(theirs).Send(Frame{Type: typ, Body: make([]byte, size)}); err != ErrOversize {
			t.Errorf("type %d of %d bytes: %v", typ, size, err)
		}
	}
}

// The other end closing with a frame of ours unread is an end of file like
// any other (ECONNRESET, unix(7)).
func TestResetIsAnEnd(t *testing.T) {
	ours, theirs := socketPair(t)
	defer syscall.Close(ours)
	must(t, NewConn(ours).Send(Frame{Type: TypeStarted}))
	must(t, syscall.Close(theirs))
	if _, err := NewConn(ours).Receive(Want{Type: TypeExit}); err != ErrGone {
		t.Errorf("got %v", err)
	}
	if err := NewConn(ours).Send(Frame{Type: TypeStarted}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("and a send to nobody: %v", err)
	}
}

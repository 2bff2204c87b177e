package initproto

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"time"
)

// Hello is the first frame of an init.
type Hello struct{ Version uint16 }

// Setup says what the init makes before the posture is read.
type Setup struct {
	// Listen holds IPv4 loopback addresses, each with its port.
	Listen []netip.AddrPort
}

// Failed says what went wrong; the sandbox is over.
type Failed struct {
	Step  Step
	Errno syscall.Errno
}

// Signal is to be sent to the command's process, 1 to 64.
type Signal struct{ Number int }

// Resize is a new terminal size in characters.
type Resize struct{ Rows, Cols uint16 }

// Exit says how the command ended: by Signal unless that is zero.
type Exit struct {
	Code   int // 0 to 255
	Signal int // 0 to 64
	// UserCPU and SystemCPU are in whole microseconds and count, like MaxRSS
	// in bytes, the command and the descendants it waited for (wait4(2)).
	UserCPU, SystemCPU time.Duration
	// MaxRSS is at least what the init used when it forked the command, about
	// 3 MiB: execve(2) does not reset it.
	MaxRSS int64
}

const (
	maxSignal = 64   // SIGRTMAX (signal(7)); api.MaxSignal is not linked into creel-init
	maxErrno  = 4095 // MAX_ERRNO of the kernel
	// maxMicros keeps a duration in nanoseconds inside an int64.
	maxMicros = 1 << 53
)

// Encode gives the body of the frame.
func (h Hello) Encode() []byte { return be.AppendUint16(nil, h.Version) }

// DecodeHello reads the body of a Hello.
func DecodeHello(body []byte) (Hello, error) {
	r := reader{rest: body}
	h := Hello{Version: r.uint16()}
	return h, r.end()
}

// Encode gives the body of the frame, or ErrMalformed where Listen holds what
// no init may listen on.
func (s Setup) Encode() ([]byte, error) {
	if len(s.Listen) > MaxListen {
		return nil, ErrMalformed
	}
	body := []byte{byte(len(s.Listen))}
	for _, a := range s.Listen {
		if !listenable(a) {
			return nil, ErrMalformed
		}
		ip := a.Addr().As4()
		body = be.AppendUint16(append(body, ip[:]...), a.Port())
	}
	return body, nil
}

// DecodeSetup reads the body of a Setup.
func DecodeSetup(body []byte) (Setup, error) {
	r := reader{rest: body}
	n := int(r.uint8())
	r.require(n <= MaxListen)
	var s Setup
	for i := 0; i < n && !r.bad; i++ {
		var ip [4]byte
		copy(ip[:], r.bytes(4))
		a := netip.AddrPortFrom(netip.AddrFrom4(ip), r.uint16())
		r.require(listenable(a))
		s.Listen = append(s.Listen, a)
	}
	return s, r.end()
}

// listenable holds the rule that a sandbox listens on its own IPv4 loopback
// and on nothing else.
func listenable(a netip.AddrPort) bool {
	return a.Addr().Is4() && a.Addr().IsLoopback() && a.Port() != 0
}

// Encode gives the body of the frame.
func (f Failed) Encode() []byte {
	return be.AppendUint32([]byte{byte(f.Step)}, uint32(f.Errno))
}

// DecodeFailed reads the body of a Failed.
func DecodeFailed(body []byte) (Failed, error) {
	r := reader{rest: body}
	step, errno := Step(r.uint8()), r.uint32()
	r.require(step >= StepPrepare && step < stepEnd && errno >= 1 && errno <= maxErrno)
	return Failed{Step: step, Errno: syscall.Errno(errno)}, r.end()
}

// Encode gives the body of the frame.
func (s Signal) Encode() []byte { return []byte{byte(s.Number)} }

// DecodeSignal reads the body of a Signal.
func DecodeSignal(body []byte) (Signal, error) {
	r := reader{rest: body}
	n := int(r.uint8())
	r.require(n >= 1 && n <= maxSignal)
	return Signal{Number: n}, r.end()
}

// Encode gives the body of the frame.
func (r Resize) Encode() []byte {
	return be.AppendUint16(be.AppendUint16(nil, r.Rows), r.Cols)
}

// DecodeResize reads the body of a Resize.
func DecodeResize(body []byte) (Resize, error) {
	r := reader{rest: body}
	size := Resize{Rows: r.uint16(), Cols: r.uint16()}
	return size, r.end()
}

// Encode gives the body of the frame.
func (e Exit) Encode() []byte {
	body := []byte{byte(e.Code), byte(e.Signal)}
	body = be.AppendUint64(body, uint64(e.UserCPU/time.Microsecond))
	body = be.AppendUint64(body, uint64(e.SystemCPU/time.Microsecond))
	return be.AppendUint64(body, uint64(e.MaxRSS))
}

// DecodeExit reads the body of an Exit.
func DecodeExit(body []byte) (Exit, error) {
	r := reader{rest: body}
	e := Exit{Code: int(r.uint8()), Signal: int(r.uint8())}
	user, system, rss := r.uint64(), r.uint64(), r.uint64()
	r.require(e.Signal <= maxSignal && (e.Signal == 0 || e.Code == 0))
	r.require(user <= maxMicros && system <= maxMicros && rss < 1<<63)
	e.UserCPU = time.Duration(user) * time.Microsecond
	e.SystemCPU = time.Duration(system) * time.Microsecond
	e.MaxRSS = int64(rss)
	return e, r.end()
}

var be = binary.BigEndian

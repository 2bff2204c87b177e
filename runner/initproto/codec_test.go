package initproto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

var fullJob = Job{
	Argv: [][]byte{[]byte("sh"), []byte("-c"), {}, []byte("\xff")},
	Env:  [][]byte{[]byte("A=1")},
	Cwd:  "/w", TTY: true, Rows: 24, Cols: 80,
	Filter: []byte{1, 2, 3, 4, 5, 6, 7, 8},
}

var addresses = []netip.AddrPort{
	netip.MustParseAddrPort("127.0.0.1:18789"),
	netip.MustParseAddrPort("127.1.2.3:1"),
}

// codecs holds every frame with a body: a value, its golden encoding and its
// decoder.
var codecs = map[Type]struct {
	value  any
	golden string
	encode func() ([]byte, error)
	decode func([]byte) (any, error)
}{
	TypeHello:  {Hello{1}, "0001", wrapEncode(Hello{1}.Encode()), decoder(DecodeHello)},
	TypeSetup:  {Setup{addresses}, "027f00000149657f0102030001", Setup{addresses}.Encode, decoder(DecodeSetup)},
	TypeFailed: {Failed{StepExec, syscall.ENOENT}, "0800000002", wrapEncode(Failed{StepExec, syscall.ENOENT}.Encode()), decoder(DecodeFailed)},
	TypeSignal: {Signal{15}, "0f", wrapEncode(Signal{15}.Encode()), decoder(DecodeSignal)},
	TypeResize: {Resize{50, 132}, "00320084", wrapEncode(Resize{50, 132}.Encode()), decoder(DecodeResize)},
	TypeExit: {Exit{Code: 3, UserCPU: time.Millisecond, SystemCPU: 2 * time.Microsecond, MaxRSS: 4096},
		"030000000000000003e800000000000000020000000000001000",
		wrapEncode(Exit{Code: 3, UserCPU: time.Millisecond, SystemCPU: 2 * time.Microsecond, MaxRSS: 4096}.Encode()), decoder(DecodeExit)},
	TypeJob: {fullJob, "01" + "00180050" + "000000022f77" + "000000080102030405060708" +
		"0000000400000009" + "736800" + "2d6300" + "00" + "ff00" + "0000000100000004" + "413d3100",
		fullJob.Encode, decoder(DecodeJob)},
}

func wrapEncode(body []byte) func() ([]byte, error) {
	return func() ([]byte, error) { return body, nil }
}

func decoder[T any](f func([]byte) (T, error)) func([]byte) (any, error) {
	return func(body []byte) (any, error) { return f(body) }
}

func TestEncodingsAreGoldenAndRoundTrip(t *testing.T) {
	for typ, c := range codecs {
		body, err := c.encode()
		if err != nil || hex.EncodeToString(body) != c.golden {
			t.Errorf("type %d: encoded %x, %v, want %s", typ, body, err, c.golden)
		}
		value, err := c.decode(body)
		if err != nil || !reflect.DeepEqual(value, c.value) {
			t.Errorf("type %d: decoded %+v, %v, want %+v", typ, value, err, c.value)
		}
	}
}

func TestBodiesOfAnotherLengthAreRefused(t *testing.T) {
	for typ, c := range codecs {
		body, _ := hex.DecodeString(c.golden)
		for n := range body {
			if _, err := c.decode(body[:n]); err != ErrMalformed {
				t.Errorf("type %d: %d of %d bytes: %v", typ, n, len(body), err)
			}
		}
		if _, err := c.decode(append(bytes.Clone(body), 0)); err != ErrMalformed {
			t.Errorf("type %d: a byte too many: %v", typ, err)
		}
	}
}

func TestValuesOutOfRangeAreRefused(t *testing.T) {
	exit := codecs[TypeExit].golden
	for _, c := range []struct {
		typ  Type
		body string
	}{
		{TypeSetup, "017f0000010000"},      // port 0
		{TypeSetup, "01080808080050"},      // not loopback
		{TypeSetup, "0100000000" + "0050"}, // every address
		{TypeSetup, "11" + strings.Repeat("7f0000010050", 17)},
		{TypeFailed, "0000000001"}, // no step
		{TypeFailed, "0900000001"}, // no such step
		{TypeFailed, "0800000000"}, // no error
		{TypeFailed, "0800001000"}, // no errno
		{TypeSignal, "00"},
		{TypeSignal, "41"},
		{TypeExit, "0041" + exit[4:]},                  // no signal
		{TypeExit, "0101" + exit[4:]},                  // code and signal
		{TypeExit, "0000ffffffffffffffff" + exit[20:]}, // overflows a duration
		{TypeExit, exit[:36] + "8000000000000000"},     // a negative size
	} {
		body, err := hex.DecodeString(c.body)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := codecs[c.typ].decode(body); err != ErrMalformed {
			t.Errorf("type %d: %s gave %+v, %v", c.typ, c.body, v, err)
		}
	}
}

func TestForgedJobsAreRefused(t *testing.T) {
	const filter = "000000080600000000000000"
	const head, argv, env = "00" + "00000000" + "000000012f" + filter, "0000000100000003736800", "0000000000000000"
	good, _ := hex.DecodeString(head + argv + env)
	if job, err := DecodeJob(good); err != nil || string(job.Argv[0]) != "sh" {
		t.Fatalf("the control: %+v, %v", job, err)
	}
	for name, body := range map[string]string{
		"unknown flag":      "04" + head[2:] + argv + env,
		"tty that lingers":  "03" + head[2:] + argv + env,
		"size without tty":  "00" + "00010001" + head[10:] + argv + env,
		"no argv":           head + env + env,
		"count too large":   head + "0000000200000003736800" + env,
		"count too small":   head + "0000000100000004" + "73006800" + env,
		"count of billions": head + "ffffffff00000003736800" + env,
		"size of billions":  head + "00000001ffffffff736800" + env,
		"no final NUL":      head + "0000000100000003730068" + env,
		"relative cwd":      "0000000000" + "0000000177" + filter + argv + env,
		"empty cwd":         "0000000000" + "00000000" + filter + argv + env,
		"NUL in cwd":        "0000000000" + "000000022f00" + filter + argv + env,
		"no filter":         "0000000000" + "000000012f" + "00000000" + argv + env,
		"half instruction":  "0000000000" + "000000012f" + "0000000401020304" + argv + env,
	} {
		raw, err := hex.DecodeString(body)
		if err != nil {
			t.Fatal(name, err)
		}
		if job, err := DecodeJob(raw); err != ErrMalformed {
			t.Errorf("%s: %+v, %v", name, job, err)
		}
	}
}

func TestJobsThatCannotBeAreNotEncoded(t *testing.T) {
	change := func(f func(*Job)) Job {
		job := fullJob
		f(&job)
		return job
	}
	if _, err := change(func(j *Job) { j.Filter = make([]byte, MaxFilter*FilterInstruction) }).Encode(); err != nil {
		t.Errorf("the control, the longest filter: %v", err)
	}
	for name, job := range map[string]Job{
		"no argv":        change(func(j *Job) { j.Argv = nil }),
		"NUL in argv":    change(func(j *Job) { j.Argv = [][]byte{[]byte("a\x00b")} }),
		"NUL in env":     change(func(j *Job) { j.Env = [][]byte{{0}} }),
		"no filter":      change(func(j *Job) { j.Filter = nil }),
		"half a filter":  change(func(j *Job) { j.Filter = make([]byte, FilterInstruction/2) }),
		"long filter":    change(func(j *Job) { j.Filter = make([]byte, (MaxFilter+1)*FilterInstruction) }),
		"too many":       change(func(j *Job) { j.Env = make([][]byte, MaxStrings+1) }),
		"long directory": change(func(j *Job) { j.Cwd = "/" + strings.Repeat("x", MaxCwd) }),
		"too large":      change(func(j *Job) { j.Env = [][]byte{make([]byte, 0), bytes.Repeat([]byte("x"), MaxJob)} }),
	} {
		if body, err := job.Encode(); !errors.Is(err, ErrJob) {
			t.Errorf("%s: %d bytes, %v", name, len(body), err)
		}
	}
}

func TestSetupsThatCannotBeAreNotEncoded(t *testing.T) {
	for _, a := range []string{"10.0.0.1:80", "0.0.0.0:80", "127.0.0.1:0", "[::1]:80", "[::ffff:127.0.0.1]:80"} {
		if body, err := (Setup{[]netip.AddrPort{netip.MustParseAddrPort(a)}}).Encode(); err != ErrMalformed {
			t.Errorf("%s: %x, %v", a, body, err)
		}
	}
	if _, err := (Setup{make([]netip.AddrPort, MaxListen+1)}).Encode(); err != ErrMalformed {
		t.Error("too many addresses were encoded")
	}
}

func TestStartErrorsBecomeAShellsExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  StartError
		want int
	}{
		{StartError{StepExec, syscall.ENOENT}, 127},
		{StartError{StepExec, syscall.ENOTDIR}, 127},
		{StartError{StepExec, syscall.EACCES}, 126},
		{StartError{StepExec, syscall.ENOEXEC}, 126},
		{StartError{StepExec, syscall.E2BIG}, 125},
		{StartError{StepChdir, syscall.ENOENT}, 125},
	} {
		if got := c.err.ExitCode(); got != c.want {
			t.Errorf("%v: %d, want %d", &c.err, got, c.want)
		}
	}
	if got := (&StartError{StepExec, syscall.ENOENT}).Error(); got != "execute command: no such file or directory" {
		t.Error(got)
	}
}

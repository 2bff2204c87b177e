package main

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// filterOf writes struct sock_filter as the kernel reads it.
func filterOf(instructions ...unix.SockFilter) []byte {
	var out []byte
	for _, i := range instructions {
		out = binary.NativeEndian.AppendUint16(out, i.Code)
		out = append(out, i.Jt, i.Jf)
		out = binary.NativeEndian.AppendUint32(out, i.K)
	}
	return out
}

// refusing gives a filter that answers one system call with an action and
// allows every other.
func refusing(call, action uint32) []byte {
	return filterOf(
		unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	)
}

// allowing is a filter that refuses nothing.
var allowing = filterOf(unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})

const eperm = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)

func TestFilterIsInForceWhenTheCommandStarts(t *testing.T) {
	for name, c := range map[string]struct {
		filter []byte
		want   string
	}{
		"nothing": {allowing, "Seccomp:\t2\nSeccomp_filters:\t1\n<nil>\n"},
		"sysinfo": {refusing(unix.SYS_SYSINFO, eperm), "Seccomp:\t2\nSeccomp_filters:\t1\noperation not permitted\n"},
	} {
		job := script("grep ^Seccomp /proc/self/status; exec " + probePath + " call-filtered")
		job.Filter = c.filter
		if got := run(t, job, ""); got.stdout != c.want {
			t.Errorf("%s: got %q, want %q, stderr %q", name, got.stdout, c.want, got.stderr)
		}
	}
}

func TestFilterIsNotTheInits(t *testing.T) {
	b := ready(t, engineOptions{})
	job := script("echo up; read line")
	job.Filter = refusing(unix.SYS_SYSINFO, eperm)
	must(t, b.start(job))
	b.readUntil("up\n")
	if n := statusField(t, b.pid, "Seccomp_filters"); n != "0" {
		t.Errorf("PID 1 has %s filters", n)
	}
	if n := statusField(t, commandOf(t, b), "Seccomp_filters"); n != "1" { // the control
		t.Errorf("the command has %s filters", n)
	}
	b.finish("\n")
}

func TestFilterThatRefusesExecveIsNoStart(t *testing.T) {
	b := ready(t, engineOptions{})
	job := command("/bin/true")
	job.Filter = refusing(unix.SYS_EXECVE, eperm)
	var failed *initproto.StartError
	if err := b.start(job); !errors.As(err, &failed) || failed.Step != initproto.StepExec || failed.Errno != unix.EPERM {
		t.Errorf("got %v", err)
	}
}

// A job without a filter, however it was lost, is not sent, and an init that is
// sent one all the same does not start it.
func TestCommandWithoutAFilterIsNoStart(t *testing.T) {
	b := ready(t, engineOptions{})
	job := command("/bin/true")
	job.Filter = nil
	if err := b.Start(b.context(), job, b.inside); !errors.Is(err, initproto.ErrJob) {
		t.Errorf("without a filter: %v", err)
	}
	l := launch{image: image{paths: []*byte{new(byte)}}}
	if step, errno := l.execute(); step != initproto.StepFilter || errno == 0 {
		t.Errorf("the last step went on to %s: %v", step, errno)
	}
	must(t, b.start(command("/bin/true"))) // the control
	if got := b.finish(""); got.Exit.Code != 0 {
		t.Errorf("control: %+v", got)
	}
}

func TestFilterTheKernelRefusesIsNoStart(t *testing.T) {
	for name, filter := range map[string][]byte{
		"no return":  filterOf(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}),
		"wild jump":  filterOf(unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: 77}),
		"outside it": filterOf(unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 4096}, unix.SockFilter{Code: unix.BPF_RET}),
	} {
		b := ready(t, engineOptions{})
		job := command("/bin/true")
		job.Filter = filter
		var failed *initproto.StartError
		if err := b.start(job); !errors.As(err, &failed) || failed.Step != initproto.StepFilter || failed.Errno != unix.EINVAL {
			t.Errorf("%s: got %v", name, err)
		}
	}
	b := ready(t, engineOptions{})
	job := command("/bin/true")
	job.Filter = make([]byte, 4)
	if err := b.Start(b.context(), job, b.inside); !errors.Is(err, initproto.ErrJob) {
		t.Errorf("half an instruction: %v", err)
	}
}

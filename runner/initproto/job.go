package initproto

import "bytes"

// Job is the one command of a sandbox. Its descriptors are, in this order,
// stdin, stdout and stderr.
type Job struct {
	// Argv has at least one element. Neither it nor Env, the whole
	// environment as K=V, may hold a NUL byte; their order is kept.
	Argv, Env [][]byte
	// Cwd is absolute.
	Cwd string
	// TTY asks for a terminal of Rows by Cols characters; without it both
	// are zero.
	TTY        bool
	Rows, Cols uint16
	// Linger leaves what the command started running when it has ended, until
	// none of that is left or the session is closed.
	Linger bool
	// Filter is an array of struct sock_filter in the machine's own byte
	// order (seccomp(2)). There is no command without one: none that was
	// lost on the way is taken for none that was wanted.
	Filter []byte
}

// The body of a Job:
//
//	flags 8 │ rows 16 │ cols 16 │ cwd 32+n │ filter 32+n │ argv │ env
//
// where argv and env are each a count (32 bit), a size in bytes (32 bit) and
// that many bytes: the strings, each with the NUL that execve(2) wants. A NUL
// inside a string can therefore not even be expressed.
const (
	jobFlagTTY    = 1
	jobFlagLinger = 2
)

// Encode gives the body of the frame, or ErrJob. The body holds the command's
// secrets: clear it once it is sent.
func (j Job) Encode() ([]byte, error) {
	size, err := j.size()
	if err != nil {
		return nil, err
	}
	return j.append(make([]byte, 0, size)), nil
}

// size is that of the body in bytes. The error is ErrJob.
func (j Job) size() (int, error) {
	if !j.valid() {
		return 0, ErrJob
	}
	size := 1 + 2 + 2 + 4 + len(j.Cwd) + 4 + len(j.Filter) + stringsSize(j.Argv) + stringsSize(j.Env)
	if size > MaxJob {
		return 0, ErrJob
	}
	return size, nil
}

// append adds the body to a buffer that has room for it.
func (j Job) append(body []byte) []byte {
	var flags byte
	if j.TTY {
		flags |= jobFlagTTY
	}
	if j.Linger {
		flags |= jobFlagLinger
	}
	body = append(body, flags)
	body = be.AppendUint16(be.AppendUint16(body, j.Rows), j.Cols)
	body = append(be.AppendUint32(body, uint32(len(j.Cwd))), j.Cwd...)
	body = append(be.AppendUint32(body, uint32(len(j.Filter))), j.Filter...)
	body = appendStrings(body, j.Argv)
	return appendStrings(body, j.Env)
}

// DecodeJob reads the body of a Job. Argv, Env and Filter share its memory.
func DecodeJob(body []byte) (Job, error) {
	r := reader{rest: body}
	flags := r.uint8()
	r.require(flags&^(jobFlagTTY|jobFlagLinger) == 0)
	j := Job{TTY: flags&jobFlagTTY != 0, Linger: flags&jobFlagLinger != 0, Rows: r.uint16(), Cols: r.uint16()}
	j.Cwd = string(r.bytes(int(r.uint32())))
	j.Filter = r.bytes(int(r.uint32()))
	j.Argv = r.strings()
	j.Env = r.strings()
	r.require(r.bad || j.valid())
	if err := r.end(); err != nil {
		return Job{}, err
	}
	return j, nil
}

func (j Job) valid() bool {
	return len(j.Argv) >= 1 && // an empty argv confuses set-id programs: CVE-2021-4034
		validStrings(j.Argv) && validStrings(j.Env) &&
		len(j.Cwd) >= 1 && len(j.Cwd) <= MaxCwd && j.Cwd[0] == '/' && !hasNUL([]byte(j.Cwd)) &&
		len(j.Filter) >= FilterInstruction && len(j.Filter)%FilterInstruction == 0 && len(j.Filter) <= MaxFilter*FilterInstruction &&
		(j.TTY || j.Rows == 0 && j.Cols == 0) &&
		!(j.TTY && j.Linger) // a terminal ends with its command
}

func validStrings(list [][]byte) bool {
	for _, s := range list {
		if hasNUL(s) {
			return false
		}
	}
	return len(list) <= MaxStrings
}

func hasNUL(s []byte) bool { return bytes.IndexByte(s, 0) >= 0 }

func stringsSize(list [][]byte) int {
	size := 8
	for _, s := range list {
		size += len(s) + 1
	}
	return size
}

func appendStrings(body []byte, list [][]byte) []byte {
	body = be.AppendUint32(body, uint32(len(list)))
	body = be.AppendUint32(body, uint32(stringsSize(list)-8))
	for _, s := range list {
		body = append(append(body, s...), 0)
	}
	return body
}

// strings takes one list of NUL-terminated strings apart. The list is sized
// by the NULs that are there, not by the count that is claimed.
func (r *reader) strings() [][]byte {
	count := r.uint32()
	block := r.bytes(int(r.uint32()))
	nuls := bytes.Count(block, []byte{0})
	r.require(count <= MaxStrings && int64(nuls) == int64(count))
	r.require(len(block) == 0 || block[len(block)-1] == 0)
	if r.bad || count == 0 {
		return nil
	}
	list := make([][]byte, 0, nuls)
	for len(block) > 0 {
		n := bytes.IndexByte(block, 0)
		list = append(list, block[:n:n])
		block = block[n+1:]
	}
	return list
}

package credential

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/credential/locked"
)

// openAt is openat2(2); every path here is opened by it, once, and used by
// its descriptor.
func openAt(dir int, path string, flags int, resolve uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS,
	}
	return retry(func() (int, error) { return unix.Openat2(dir, path, &how) })
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// readValue reads the value in an open file.
func readValue(fd int) (Secret, error) {
	return Read(func(p []byte) (int, error) {
		return retry(func() (int, error) { return unix.Read(fd, p) })
	})
}

// Read reads a value to the end of what read, such as an io.Reader's, gives.
func Read(read func([]byte) (int, error)) (Secret, error) {
	raw, err := readAll(read)
	if err != nil {
		return Secret{}, err
	}
	return newValue(raw)
}

// firstRead is the size, in bytes, of the buffer that a value is read into
// first; few need more.
const firstRead = 4 << 10

// readAll reads to the end, into locked memory alone.
func readAll(read func([]byte) (int, error)) (*locked.Buffer, error) {
	buffer, err := locked.New(firstRead)
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	for n := 0; ; {
		if n == len(buffer.Bytes()) {
			if buffer, err = grow(buffer); err != nil {
				return nil, err
			}
		}
		count, err := read(buffer.Bytes()[n:])
		n += max(count, 0)
		if err == io.EOF || err == nil && count <= 0 {
			buffer.Cut(n)
			return buffer, nil
		}
		if err != nil {
			buffer.Free()
			return nil, fmt.Errorf("read value: %w", err)
		}
	}
}

// grow moves a full buffer to one of twice its size, up to one byte more than
// a value may have.
func grow(full *locked.Buffer) (*locked.Buffer, error) {
	defer full.Free()
	size := min(2*len(full.Bytes()), maxRaw+1)
	if size == len(full.Bytes()) {
		return nil, fmt.Errorf("read value: it has more than %d bytes", MaxValue)
	}
	larger, err := locked.New(size)
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	locked.Move(larger.Bytes(), full.Bytes())
	return larger, nil
}

package credential

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
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

// readAll reads to the end into one buffer that never grows, so that no copy
// of a value is left behind.
func readAll(read func([]byte) (int, error)) ([]byte, error) {
	buffer := make([]byte, maxRaw+1)
	defer zero(buffer)
	n := 0
	for n < len(buffer) {
		count, err := read(buffer[n:])
		n += max(count, 0)
		if err == io.EOF || err == nil && count <= 0 {
			// Right-sized, so that a small value does not hold 64 KiB.
			return append(make([]byte, 0, n), buffer[:n]...), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read value: %w", err)
		}
	}
	return nil, fmt.Errorf("read value: it has more than %d bytes", MaxValue)
}

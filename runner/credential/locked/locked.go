// Package locked is memory for credentials: pages that are never swapped
// (mlock(2)), that no core file holds, the kernel's or gcore's
// (MADV_DONTDUMP), and that a fork finds empty (MADV_WIPEONFORK, madvise(2)).
// What is given back is zeroed at once.
//
// It imports registers, the standard library and golang.org/x/sys. It never returns
// memory that lacks one of these, and never gives pages back with something in
// them.
//
// # Why not memguard
//
// github.com/awnumar/memguard was compared. Its guard pages and canaries watch
// for writes past an end, which Go's slices do not do; for them each value
// costs three pages, three mappings and nine system calls, where a slot here
// mostly costs none. Where memory cannot be locked it ends the process, and all
// sandboxes with it, instead of refusing one command; where a page cannot be
// kept out of cores it goes on. And being linked is enough for it to set the
// core limit to 0, at which the kernel still starts the program of a piped
// core_pattern (core(5)). What is left of it is here.
//
// # Why not the whole process
//
// mlockall(2) keeps the Go heap from swap too, but not from cores, and it wipes
// nothing: the collector leaves what it frees as it is. It wants RLIMIT_MEMLOCK
// to cover all address space that the Go runtime reserves, more than 1 GiB, and
// keeps that from giving memory back, since MADV_DONTNEED fails on locked pages
// (madvise(2)). memfd_secret(2) would hide pages from the kernel's own mappings
// too, but before Linux 6.5 exists only where it was asked for at boot; a
// promise must not depend on that.
package locked

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/registers"
)

// Limit bounds all locked memory of the process, in bytes: that of 1,024
// sandboxes with some credentials each and the buffers of what they print.
const Limit = 256 << 20

// Buffers of up to largest bytes are slots, of a power of two, in a region of
// slots of their size; a slot keeps its place for the next buffer. A larger one
// has pages of its own, which are unmapped when it is freed.
const (
	smallest  = 64
	largest   = 1 << lastClass
	lastClass = 18
	minRegion = 64 << 10
)

// Buffer is a piece of locked memory, of one owner at a time.
type Buffer struct {
	bytes []byte
	whole []byte // the slot, or the pages
}

// pool is all locked memory of the process: the kernel's limit is the
// process's as well.
var pool struct {
	sync.Mutex
	free   [lastClass + 1][][]byte // slots, by the logarithm of their size
	mapped int
	inUse  int
}

// InUse is how many bytes were asked for and not freed.
func InUse() int {
	pool.Lock()
	defer pool.Unlock()
	return pool.inUse
}

// New gives size bytes, all zero. It fails where a limit, the kernel's or this
// package's, is reached.
func New(size int) (*Buffer, error) {
	if size < 0 || size > Limit {
		return nil, fmt.Errorf("lock memory: %d bytes are asked for, and there are at most %d", size, Limit)
	}
	pool.Lock()
	defer pool.Unlock()
	whole, err := take(size)
	if err != nil {
		return nil, err
	}
	pool.inUse += size
	return &Buffer{bytes: whole[:size:size], whole: whole}, nil
}

// Copy gives a buffer with the same content as b, which stays as it is.
func Copy(b []byte) (*Buffer, error) {
	buffer, err := New(len(b))
	if err != nil {
		return nil, err
	}
	Move(buffer.bytes, b)
	return buffer, nil
}

// Slice gives n zero values of a type, and the buffer that they are in. The
// type must hold no pointer: the garbage collector does not look there.
func Slice[T any](n int) ([]T, *Buffer, error) {
	var one T
	buffer, err := New(n * int(unsafe.Sizeof(one)))
	if err != nil {
		return nil, nil, err
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(buffer.bytes))), n), buffer, nil
}

// Move copies from into to, of which it returns how many bytes, and leaves none
// of them in registers.
func Move(to, from []byte) int {
	defer registers.Clear()
	return copy(to, from)
}

// take gives a slot, or pages, of at least size bytes.
func take(size int) ([]byte, error) {
	if size > largest {
		return lockPages(size)
	}
	class := classOf(size)
	if len(pool.free[class]) == 0 {
		slotSize := 1 << class
		region, err := lockPages(max(minRegion, slotSize))
		if err != nil {
			return nil, err
		}
		for slot := range slices.Chunk(region, slotSize) {
			pool.free[class] = append(pool.free[class], slot)
		}
	}
	last := len(pool.free[class]) - 1
	slot := pool.free[class][last]
	pool.free[class] = pool.free[class][:last]
	return slot, nil
}

// classOf is the logarithm of the size of the slot that holds size bytes.
func classOf(size int) int { return bits.Len(uint(max(size, smallest) - 1)) }

// lockPages maps pages that are all that this package promises, or fails.
func lockPages(size int) ([]byte, error) {
	page := unix.Getpagesize()
	size = (size + page - 1) / page * page
	if pool.mapped+size > Limit {
		return nil, fmt.Errorf("lock memory: all %d bytes that credentials may have are in use; fewer commands with credentials can run at once", Limit)
	}
	pages, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("lock memory: map pages: %w", err)
	}
	err = unix.Madvise(pages, unix.MADV_DONTDUMP)
	if err == nil {
		err = unix.Madvise(pages, unix.MADV_WIPEONFORK)
	}
	if err == nil {
		err = unix.Mlock(pages) // last: now they are there
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock memory: %w; raise LimitMEMLOCK= of creeld.service", err), unix.Munmap(pages))
	}
	pool.mapped += size
	return pages, nil
}

// Bytes is the memory itself; nil once freed. It must not be kept any longer
// than the Buffer, since it will be somebody else's; nor appended to, since
// that would copy it out of locked memory.
func (b *Buffer) Bytes() []byte {
	if b == nil {
		return nil
	}
	return b.bytes
}

// Cut makes the buffer end after its first size bytes, and zeroes the others.
func (b *Buffer) Cut(size int) {
	Zero(b.bytes[size:])
	pool.Lock()
	defer pool.Unlock()
	pool.inUse -= len(b.bytes) - size
	b.bytes = b.bytes[:size:size]
}

// Free zeroes the memory and gives it back. Only the first call does anything.
func (b *Buffer) Free() {
	if b == nil || b.whole == nil {
		return
	}
	Zero(b.bytes)
	pool.Lock()
	defer pool.Unlock()
	pool.inUse -= len(b.bytes)
	if len(b.whole) > largest {
		pool.mapped -= len(b.whole)
		_ = unix.Munmap(b.whole) // it was mapped by this package: there is no way to fail
	} else {
		class := classOf(len(b.whole))
		pool.free[class] = append(pool.free[class], b.whole)
	}
	b.bytes, b.whole = nil, nil
}

// Zero wipes b for good: the KeepAlive keeps the stores from being optimised
// away as dead.
func Zero(b []byte) {
	clear(b)
	runtime.KeepAlive(&b)
}

// Format implements fmt.Formatter and shows nothing of what is inside.
func (b *Buffer) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "[locked memory]") }

package leakcheck

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFile is how much of one file is searched, in bytes.
const maxFile = 1 << 30

// watch searches every file that is written on the file systems it was given,
// as soon as it is, by a descriptor that the kernel opens (fanotify(7)): so a
// file that is deleted at once is searched too. It does not see what is
// written through a mapping, nor what was overwritten before it came to look.
type watch struct {
	notes  *notes
	sought *sought
	fd     int
	stop   *os.File // closed to end it
	wake   *os.File
	ended  chan struct{}

	pending map[identity]*written
	devices map[uint64]*system
	mu      sync.Mutex
	// controls are closed when the file is found in which they were written.
	controls map[identity]chan struct{}
	// stamps are the times of the first control on each device.
	stamps map[uint64]time.Time
}

// anyWritten is the place of what concerns all file systems.
const anyWritten = "files written anywhere"

// deletedFile is the control of each.
const deletedFile = "a file that was deleted at once"

// written is a file that was written to and not searched since.
type written struct {
	file  *os.File
	since time.Time
	size  int64
	by    process // who was seen to write it first, and may be gone soon
	// closed says that its writer has, so that it may be deleted any time.
	closed bool
}

// A file of more than promptly bytes that is still open is searched only once
// for each calm, since it may be written a little at a time.
const (
	promptly = 1 << 20
	calm     = time.Second
)

// maxPending bounds the descriptors that are held.
const maxPending = 256

// newWatch begins to watch. Each file system is a place of its own in notes.
func newWatch(n *notes, s *sought, systems []*system) (*watch, error) {
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK,
		unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NOATIME|unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("start fanotify: %w", err)
	}
	w := &watch{notes: n, sought: s, fd: fd, ended: make(chan struct{}),
		pending: map[identity]*written{}, devices: map[uint64]*system{}, controls: map[identity]chan struct{}{}, stamps: map[uint64]time.Time{}}
	if w.wake, w.stop, err = os.Pipe(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	n.expect(anyWritten, "files searched of which the file system is not known")
	for _, system := range systems {
		n.expect(system.place(), "files searched")
		w.devices[system.device] = system
		if err := w.mark(system); err != nil {
			n.problem(system.place(), "watch it: %v", err)
		}
	}
	go w.run()
	return w, nil
}

func (w *watch) mark(s *system) error {
	dir, err := s.open()
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.FanotifyMark(w.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_MODIFY|unix.FAN_CLOSE_WRITE, int(dir.Fd()), "")
}

func (s *system) place() string { return "files written on " + s.mount.name() }

// control writes the control to a file system. What it returns is closed once
// that is found: then everything that was written there before is searched,
// too, since events come in order.
func (w *watch) control(s *system, control Canary) (<-chan struct{}, error) {
	file, err := s.temporary()
	if err != nil {
		return nil, err
	}
	found := make(chan struct{})
	id, st, err := identify(int(file.Fd()))
	if err == nil {
		w.mu.Lock()
		w.controls[id] = found
		if _, ok := w.stamps[id.dev]; !ok {
			w.stamps[id.dev] = time.Unix(st.Ctim.Unix())
		}
		w.mu.Unlock()
		_, err = file.WriteString(string(control) + "\n")
	}
	return found, errors.Join(err, file.Close())
}

// stamp is when the first control was written on a device, by the clock of that.
func (w *watch) stamp(device uint64) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp, ok := w.stamps[device]
	return stamp, ok
}

// close ends the watch once everything that was written is searched.
func (w *watch) close() error {
	w.stop.Close()
	<-w.ended
	return errors.Join(unix.Close(w.fd), w.wake.Close())
}

func (w *watch) run() {
	defer close(w.ended)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.wake.Fd()), Events: unix.POLLIN}}, int(calm.Milliseconds()))
		if err != nil && err != unix.EINTR {
			w.notes.problem(anyWritten, "wait for events: %v", err)
			return
		}
		more := true
		for more && len(w.pending) < maxPending {
			more = w.take()
		}
		stopping := n > 0 && w.stopping()
		w.search(stopping || len(w.pending) >= maxPending)
		if stopping && !more {
			return
		}
	}
}

func (w *watch) stopping() bool {
	poll := []unix.PollFd{{Fd: int32(w.wake.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// eventRoom is for some dozens of events, each of which is a descriptor.
const eventRoom = 64 * int(unsafe.Sizeof(unix.FanotifyEventMetadata{}))

// take reads events, and reports whether there may be more.
func (w *watch) take() bool {
	room := make([]byte, eventRoom)
	n, err := unix.Read(w.fd, room)
	switch {
	case err == unix.EAGAIN:
		return false
	case err == unix.EINTR:
		return true
	case err != nil: // one file could not be opened (fanotify(7)); the others are
		w.notes.problem(anyWritten, "a file that was written could not be opened: %v", err)
		return false // those that are open are searched first
	}
	for events := bytes.NewReader(room[:n]); events.Len() > 0; {
		var e unix.FanotifyEventMetadata
		if err := binary.Read(events, binary.NativeEndian, &e); err != nil {
			w.notes.problem(anyWritten, "read event: %v", err)
			return false
		}
		if e.Mask&unix.FAN_Q_OVERFLOW != 0 {
			w.notes.problem(anyWritten, "more was written than could be searched in time: try again when the host is calmer")
		}
		if e.Fd >= 0 {
			w.note(os.NewFile(uintptr(e.Fd), "written"), e.Pid, e.Mask&unix.FAN_CLOSE_WRITE != 0)
		}
	}
	return true
}

// note takes over one file that was written.
func (w *watch) note(file *os.File, pid int32, closed bool) {
	id, st, err := identify(int(file.Fd()))
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		file.Close()
		return
	}
	known := w.pending[id]
	if known == nil {
		known = &written{file: file, since: time.Now(), by: processOf(int(pid))}
		w.pending[id] = known
	} else {
		file.Close()
	}
	known.size, known.closed = st.Size, known.closed || closed
}

// search searches what is due, the oldest first.
func (w *watch) search(all bool) {
	ids := make([]identity, 0, len(w.pending))
	for id, f := range w.pending {
		if all || f.closed || f.size <= promptly || time.Since(f.since) >= calm {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b identity) int {
		return cmp.Compare(w.pending[a].since.UnixNano(), w.pending[b].since.UnixNano())
	})
	for _, id := range ids {
		f := w.pending[id]
		delete(w.pending, id)
		w.examine(id, f)
		f.file.Close()
	}
}

// examine searches one file; the beginning of it even when time is up.
func (w *watch) examine(id identity, f *written) {
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.file.Fd()))
	if err != nil {
		w.notes.problem(anyWritten, "read name of file: %v", err)
	}
	if w.notes.leftOut(path) {
		return
	}
	found, err := w.sought.file(f.file, maxFile)
	place := anyWritten
	if s := w.devices[id.dev]; s != nil { // else it is on a subvolume of btrfs
		place = s.place()
	}
	w.notes.leak(place, path, f.by, found)
	w.notes.searched(place, 1)
	if err != nil {
		w.notes.problem(place, "%s: %v; --except leaves it out", path, err)
	}
	if found.control {
		w.mu.Lock()
		defer w.mu.Unlock()
		if c := w.controls[id]; c != nil {
			close(c)
			delete(w.controls, id)
		}
	}
}

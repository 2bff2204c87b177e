package leakcheck

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// rawControl is the control of a raw device.
const rawControl = "a file on it"

// lookAtDevice searches all bytes of a block device on which a file system of
// this host is, past every cache (O_DIRECT, open(2)): deleted files too, and
// what their mappings wrote, as long as nothing else was written there since
// and the device was not told to forget it.
func (c *check) lookAtDevice(device string) {
	place := "raw device " + device
	c.notes.expect(place, "bytes", rawControl)
	fail := func(format string, args ...any) { c.notes.problem(place, format, args...) }
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		fail("it is no block device")
		return
	}
	s := c.systemOn(st.Rdev)
	if s == nil {
		fail("no file system of it is mounted here that can be written to")
		return
	}
	control, err := s.temporary()
	if err != nil {
		fail("write control: %v", err)
		return
	}
	defer control.Close() // it keeps its place on the disk until the end
	_, err = control.WriteString(strings.Repeat(string(c.control)+"\n", 4096/(len(c.control)+1)))
	if err := errors.Join(err, control.Sync(), unix.Syncfs(int(control.Fd()))); err != nil {
		fail("write control: %v", err)
		return
	}
	raw, err := openDirect(device)
	if err != nil {
		fail("%v", err)
		return
	}
	defer raw.close()
	found, err := c.kernel.sought.read(raw, maxDevice)
	c.notes.searched(place, int(found.size))
	c.notes.leak(place, device, process{}, found)
	if found.control {
		c.notes.found(place, rawControl)
	}
	if err != nil {
		fail("%v", err)
	}
}

// maxDevice is more than any device has; time is the bound.
const maxDevice = 1 << 62

// systemOn is the file system on a device, if one is watched.
func (c *check) systemOn(device uint64) *system {
	for _, s := range c.systems {
		if unix.Mkdev(uint32(s.mount.info.Major), uint32(s.mount.info.Minor)) == device {
			return s
		}
	}
	return nil
}

// direct reads a device by way of memory that is aligned as O_DIRECT asks.
type direct struct {
	file *os.File
	room []byte
	left []byte
}

func openDirect(device string) (*direct, error) {
	file, err := os.OpenFile(device, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, fmt.Errorf("open device: %w", err)
	}
	room, err := unix.Mmap(-1, 0, piece, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("map memory: %w", err)
	}
	return &direct{file: file, room: room}, nil
}

func (d *direct) close() { d.file.Close(); _ = unix.Munmap(d.room) }

// Read implements io.Reader.
func (d *direct) Read(p []byte) (int, error) {
	if len(d.left) == 0 {
		n, err := io.ReadFull(d.file, d.room)
		if n == 0 {
			return 0, err
		}
		d.left = d.room[:n] // an error is met again by the next read
	}
	n := copy(p, d.left)
	d.left = d.left[n:]
	return n, nil
}

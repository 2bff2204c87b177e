package hygiene

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/child"
)

// maxReport bounds what a search says.
const maxReport = 4 << 20

// grace is how long after its time a search may take to say what it found.
const grace = 10 * time.Second

// Job is one search to be made.
type Job struct {
	// Program is creel-check.
	Program string
	// UID and GID are who searches. The caller is root.
	UID, GID uint32
	Places   []Place
	Needles  Needles
	Limit    time.Duration
	// Memory is the file that keeps what is known from one search to the next;
	// empty: nothing is known.
	Memory string
}

// Search searches in a process of its own: of the user who is named, with
// neither network nor capability, in namespaces where it sees no other
// process, with no environment and no descriptor but those of its places. It
// ends with ctx, with this process, and when its time is over.
func Search(ctx context.Context, job Job) (*Report, error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	job.Places = slices.Clone(job.Places)
	for i := range job.Places {
		p := &job.Places[i]
		f, err := openPlace(p)
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", p.Name, err)
		}
		files = append(files, f)
	}
	memory, err := openMemory(job.Memory)
	if err != nil {
		return nil, err
	}
	defer memory.close()
	files = append(files, memory.old, memory.next)
	report, err := run(ctx, job, files)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return report, memory.keep()
}

// openPlace opens what is to be searched: the path as it is declared, through
// no link. A directory is only held, and read with the rights of whoever
// searches; a file that is named is opened for reading.
func openPlace(p *Place) (*os.File, error) {
	f, err := openDeclared(p.Name, unix.O_PATH|unix.O_DIRECTORY)
	if !errors.Is(err, unix.ENOTDIR) {
		return f, err
	}
	p.File = true
	if f, err = openDeclared(p.Name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errors.New("neither a directory nor a regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func openDeclared(path string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
	if errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w: a symlink is not followed; name what it leads to", err)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// temporary begins the names of memories that are not whole yet.
const temporary = ".search-"

// memoryFiles are what is known, and what will be.
type memoryFiles struct {
	path      string
	old, next *os.File
}

func openMemory(path string) (m memoryFiles, err error) {
	m.path = path
	if path == "" {
		m.old, m.next, err = forgetful()
		return m, err
	}
	m.old, err = os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		m.old, err = os.Open(os.DevNull)
	}
	if err != nil {
		return m, fmt.Errorf("open what is known: %w", err)
	}
	if m.next, err = os.CreateTemp(filepath.Dir(path), temporary); err != nil {
		_ = m.old.Close()
		return m, fmt.Errorf("open what is known: %w", err)
	}
	return m, nil
}

// forgetful are memories of which nothing is on a disk.
func forgetful() (old, next *os.File, err error) {
	if old, err = os.Open(os.DevNull); err != nil {
		return nil, nil, err
	}
	fd, err := unix.MemfdCreate("memory", unix.MFD_CLOEXEC)
	if err != nil {
		_ = old.Close()
		return nil, nil, fmt.Errorf("make memory: %w", err)
	}
	return old, os.NewFile(uintptr(fd), "memory"), nil
}

// keep puts the new in the place of the old.
func (m *memoryFiles) keep() error {
	if m.path == "" {
		return nil
	}
	if err := os.Rename(m.next.Name(), m.path); err != nil {
		return fmt.Errorf("keep what is known: %w", err)
	}
	return nil
}

func (m *memoryFiles) close() {
	if m.path != "" {
		_ = os.Remove(m.next.Name()) // gone, where it was kept
	}
}

// run starts the process, and reads what it says.
func run(ctx context.Context, job Job, files []*os.File) (*Report, error) {
	request, err := json.Marshal(Request{Places: job.Places, Needles: job.Needles, Seconds: int(math.Ceil(job.Limit.Seconds()))})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, job.Limit+grace)
	defer cancel()
	program, err := os.Open(job.Program)
	if err != nil {
		return nil, fmt.Errorf("open program: %w", err)
	}
	defer func() { _ = program.Close() }()
	// By its descriptor: the user need not be able to come to the file.
	cmd := exec.CommandContext(ctx, fmt.Sprintf("/proc/self/fd/%d", program.Fd()))
	cmd.Args = []string{"creel-check", "search"}
	cmd.Env = []string{} // nil would mean this process's own
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(request)
	var said bytes.Buffer
	cmd.Stdout = &limited{&said, maxReport}
	cmd.ExtraFiles = files
	attr, done, err := child.Isolate(unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNS)
	if err != nil {
		return nil, err
	}
	defer done()
	// No capability outlives the change of the user (capabilities(7)).
	attr.Credential = &syscall.Credential{Uid: job.UID, Gid: job.GID}
	cmd.SysProcAttr = attr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err // what it wrote on stderr could hold what it read
	}
	var report Report
	if err := json.Unmarshal(said.Bytes(), &report); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return &report, nil
}

// limited refuses what is beyond its bound.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, errors.New("more than a report can be")
	}
	return l.to.Write(p)
}

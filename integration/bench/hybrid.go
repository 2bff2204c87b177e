package main

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const unifiedTree = "/sys/fs/cgroup/unified"

// hybrid reports whether the host has a cgroup v2 tree beside its v1
// controllers, which crun refuses. creeld hides it for its own runs of crun:
// the peer must not fail for it either.
func hybrid() bool {
	var st unix.Statfs_t
	return unix.Statfs(unifiedTree, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// threads run what they are given in a mount namespace without that tree.
// What a locked thread starts is in the thread's namespace.
type threads struct{ jobs chan func() }

func newThreads(n int) (*threads, error) {
	t := &threads{jobs: make(chan func())}
	made := make(chan error)
	var namespace *os.File
	go t.work(func() (err error) {
		namespace, err = withoutUnifiedTree()
		return err
	}, made)
	if err := <-made; err != nil {
		return nil, err
	}
	defer namespace.Close()
	for range n - 1 {
		go t.work(func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil { // before setns(2), which wants it so
				return err
			}
			return unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNS)
		}, made)
		if err := <-made; err != nil {
			t.end()
			return nil, err
		}
	}
	return t, nil
}

// work never unlocks its thread, so that the thread ends with it.
func (t *threads) work(enter func() error, made chan<- error) {
	runtime.LockOSThread()
	err := enter()
	made <- err
	if err != nil {
		return
	}
	for job := range t.jobs {
		job()
	}
}

func withoutUnifiedTree() (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("make mount namespace: %w", err)
	}
	// Slaves: what is unmounted outside does not stay here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, fmt.Errorf("make mounts slaves: %w", err)
	}
	if err := unix.Unmount(unifiedTree, unix.MNT_DETACH); err != nil {
		return nil, fmt.Errorf("hide %s: %w", unifiedTree, err)
	}
	return os.Open(fmt.Sprintf("/proc/self/task/%d/ns/mnt", unix.Gettid()))
}

// do runs f on one of the threads and returns what it returns.
func (t *threads) do(f func() error) error {
	done := make(chan error, 1)
	t.jobs <- func() { done <- f() }
	return <-done
}

func (t *threads) end() { close(t.jobs) }

// Package internet is an Internet of a test's own: a network namespace with
// public addresses, a name server and services, which the test's process is
// connected to as a host is to its router. What a test starts lives there too.
//
// It imports nothing of runner, and never touches the machine's own network.
package internet

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The addresses of both ends of the wire, and of the name server.
const (
	HostAddress  = "93.184.216.1" // the test's own
	HostAddress6 = "2606:2800:220:1::1"
	nameServer   = "93.184.216.53"
)

// addresses are what the other end has: some public, and some that no router
// of the real Internet would reach.
var addresses = []string{
	"93.184.216.2/24", nameServer + "/32", "93.184.216.34/32", "93.184.216.35/32",
	"10.0.0.5/32", "169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "192.168.7.7/32",
	"2606:2800:220:1::2/64", "2606:2800:220:1::34/128", "fd00:ec2::254/128", "64:ff9b::a00:5/128",
}

// inside marks the process that lives in the namespaces.
const inside = "CREEL_TEST_INTERNET"

// Main runs the tests in a network and a mount namespace of their own, by
// starting the test binary again, and gives the exit code.
func Main(m *testing.M) int {
	if os.Getenv(inside) != "" {
		return m.Run()
	}
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Env = append(os.Environ(), inside+"=1")
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	var exit *exec.ExitError
	switch err := again.Run(); {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "start the tests in namespaces (needs root):", err)
		return 1
	}
	return 0
}

// Internet is the other end of the wire. Its methods are called from the
// test's goroutine.
type Internet struct {
	t     testing.TB
	jobs  chan func()
	names *names
}

// New lays the wire, and has the process's resolver ask the name server there.
// There is one at a time.
func New(t testing.TB) *Internet {
	t.Helper()
	i := &Internet{t: t, jobs: make(chan func())}
	thread := make(chan int)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			thread <- -1
			return
		}
		thread <- unix.Gettid()
		for job := range i.jobs {
			job()
		}
	}()
	tid := <-thread
	if tid < 0 {
		t.Fatal("make network namespace: needs root")
	}
	t.Cleanup(func() { close(i.jobs) })
	check(t, errors.Join(
		ip("link", "set", "lo", "up"),
		ip("link", "add", "host0", "type", "veth", "peer", "name", "far0", "netns", fmt.Sprint(tid)),
		ip("address", "add", HostAddress+"/24", "dev", "host0"),
		ip("address", "add", HostAddress6+"/64", "dev", "host0", "nodad"),
		ip("link", "set", "host0", "up"),
	))
	i.do(func() error {
		errs := []error{ip("link", "set", "lo", "up")}
		for _, address := range addresses {
			option := []string{"address", "add", address, "dev", "far0"}
			if strings.Contains(address, ":") {
				option = append(option, "nodad")
			}
			errs = append(errs, ip(option...))
		}
		return errors.Join(append(errs, ip("link", "set", "far0", "up"))...)
	})
	t.Cleanup(func() { check(t, ip("link", "delete", "host0")) })
	check(t, errors.Join(
		ip("route", "add", "default", "via", "93.184.216.2"),
		ip("-6", "route", "add", "default", "via", "2606:2800:220:1::2"),
	))
	i.names = i.serveNames()
	i.resolve()
	return i
}

// resolve has what reads /etc/resolv.conf in this mount namespace find the
// name server, and no other. What is first sent over a wire that has only just
// been laid can be lost, so it asks again.
func (i *Internet) resolve() {
	i.t.Helper()
	file := i.t.TempDir() + "/resolv.conf"
	check(i.t, os.WriteFile(file, []byte("nameserver "+nameServer+"\noptions timeout:1 attempts:5\nsearch example.net\n"), 0o644))
	check(i.t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(i.t, unix.Mount(file, "/etc/resolv.conf", "", unix.MS_BIND, ""))
	i.t.Cleanup(func() { check(i.t, unix.Unmount("/etc/resolv.conf", unix.MNT_DETACH)) })
}

// do runs a job on the namespace's thread.
func (i *Internet) do(job func() error) {
	i.t.Helper()
	done := make(chan error)
	i.jobs <- func() { done <- job() }
	check(i.t, <-done)
}

// ip runs ip(8), in the network namespace of the calling thread.
func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

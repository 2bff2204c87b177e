package seccomp

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The test binary becomes its own subject, because a filter cannot be taken
// off again:
//
//	BINARY under-filter N probe            run every probe, print the outcomes
//	BINARY under-filter N init-work        do what creel-init does
//	BINARY under-filter N exec CMD ARG…    become a command
//
// after installing the N programs on descriptors 3, 4, … in that order.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "under-filter" {
		if err := underFilter(os.Args[2], os.Args[3], os.Args[4:]); err != nil {
			fmt.Fprintln(os.Stderr, "under-filter:", err)
			os.Exit(99)
		}
		return
	}
	os.Exit(m.Run())
}

func underFilter(count, mode string, argv []string) error {
	runtime.LockOSThread()
	n := int(count[0] - '0')
	probes := dangerousProbes()
	for fd := 3; fd < 3+n; fd++ {
		program, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			return err
		}
		if err := install(program); err != nil {
			return fmt.Errorf("install program of descriptor %d: %w", fd, err)
		}
	}
	switch mode {
	case "probe":
		for _, probe := range probes {
			fmt.Printf("%d %s\n", probe.try(), probe.what)
		}
		return nil
	case "init-work":
		return initWork()
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, argv, os.Environ())
}

// install puts the program on every thread, so that it holds wherever the Go
// runtime schedules what follows. creel-init does it on one locked thread.
func install(program Program) error {
	return load(program, unix.SECCOMP_FILTER_FLAG_TSYNC)
}

func load(program Program, flags uintptr) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(program.Instructions()), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// filtered prepares the test binary in a session of its own, with an empty
// directory as its working directory and HOME.
func filtered(t testing.TB, programs []Program, mode string, argv ...string) *exec.Cmd {
	t.Helper()
	args := append([]string{"under-filter", fmt.Sprint(len(programs)), mode}, argv...)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "LANG=C.UTF-8", "TMPDIR=" + cmd.Dir}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	for i, program := range programs {
		file := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.WriteFile(file, program, 0o600); err != nil {
			t.Fatal(err)
		}
		opened, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { opened.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, opened)
	}
	return cmd
}

// asInSandbox are both layers in the order in which a sandbox gets them.
func asInSandbox(t testing.TB) []Program {
	t.Helper()
	return []Program{mustCompile(t, floorProfile(t)), mustCompile(t, defaultProfile(t))}
}

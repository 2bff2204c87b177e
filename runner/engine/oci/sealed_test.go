package oci

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// install puts a program in the place of another, as a package manager does.
func install(t *testing.T, program, path string) {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// sealedCopy is a sealed copy of true.
func sealedCopy(t *testing.T) *sealed {
	t.Helper()
	dir := t.TempDir()
	s := &sealed{path: dir + "/runtime", link: dir + "/links/link"}
	install(t, "/bin/true", s.path)
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(s.link); err == nil {
			t.Error("the link is left")
		}
	})
	return s
}

func TestSealedRuntimeIsTheInstalledOne(t *testing.T) {
	s := sealedCopy(t)
	dir := filepath.Dir(s.link)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Symlink("/proc/4711/fd/42", s.link)); err != nil { // of one that was killed
		t.Fatal(err)
	}
	if path := s.executable(); path != s.link {
		t.Fatalf("executed as %s", path)
	}
	if err := exec.Command(s.link).Run(); err != nil {
		t.Fatalf("the copy of true: %v", err)
	}
	former := s.file.Fd()
	install(t, "/bin/false", s.path)
	if path := s.executable(); path != s.link || s.file.Fd() != former {
		t.Errorf("executed as %s, by descriptor %d and not %d", path, s.file.Fd(), former)
	}
	if err := exec.Command(s.link).Run(); err == nil {
		t.Error("after an upgrade the former version runs")
	}
	if err := os.Remove(s.path); err != nil {
		t.Fatal(err)
	}
	if path := s.executable(); path != s.path {
		t.Errorf("a runtime that is not there is executed as %s", path)
	}
}

// A child's descriptors are put in their places before it executes anything,
// some of them in the place of the copy.
func TestSealedRuntimeStartsWhateverAChildIsGiven(t *testing.T) {
	s := sealedCopy(t)
	path := s.executable()
	for number := s.file.Fd() - 2; number <= s.file.Fd()+2; number++ {
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer null.Close()
		cmd := exec.Command(path)
		cmd.ExtraFiles = make([]*os.File, number) // its numbers start at 3
		for i := range cmd.ExtraFiles {
			cmd.ExtraFiles[i] = null
		}
		if err := cmd.Run(); err != nil {
			t.Errorf("with %d descriptors: %v", number, err)
		}
	}
}

func TestScriptIsExecutedAsItIs(t *testing.T) {
	s := sealedCopy(t)
	if err := os.WriteFile(s.path, []byte("#!/bin/true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if path := s.executable(); path != s.path {
		t.Errorf("a script is executed as %s", path)
	}
	install(t, "/bin/true", s.path)
	if path := s.executable(); path != s.link {
		t.Errorf("control: a binary is executed as %s", path)
	}
}

func TestSealedRuntimeKeepsItsName(t *testing.T) {
	s := sealedCopy(t)
	install(t, "/bin/sleep", s.path)
	cmd := exec.Command(s.executable(), "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
	if err != nil || string(name) != "link\n" {
		t.Errorf("its name is %q, %v", name, err)
	}
}

func TestSealedRuntimeCannotBeWritten(t *testing.T) {
	s := sealedCopy(t)
	s.executable()
	got, err := unix.FcntlInt(s.file.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		t.Errorf("seals %#x, %v", got, err)
	}
	before, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.file.WriteAt([]byte("x"), 0); err == nil {
		t.Error("written through its own descriptor")
	}
	if again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()), os.O_RDWR, 0); err == nil {
		defer again.Close()
		if _, err := again.WriteAt([]byte("x"), 0); err == nil {
			t.Error("written through a descriptor opened anew")
		}
		if err := again.Truncate(1); err == nil {
			t.Error("cut")
		}
	}
	after, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("it is not what it was: %v", err)
	}
}

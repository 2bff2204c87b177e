package vm

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// outSize is the room, in bytes, for what a machine hands back.
const outSize = 64 << 20

// kernelLine is the kernel's command line. panic=-1 and -no-reboot turn a
// panic into the end of QEMU at once.
const kernelLine = "root=/dev/nvme0n1 rw console=ttyS0 quiet mitigations=off apparmor=0 selinux=0 " +
	"panic=-1 systemd.show_status=0 systemd.unified_cgroup_hierarchy=1"

// Check is one thing the script in the machine found.
type Check struct {
	Name string
	OK   bool
	Why  string // what was wrong; empty when OK
}

// Report is what a machine left.
type Report struct {
	Checks  []Check
	Files   map[string][]byte // everything the script put in /out
	Console string            // the serial console, for when nothing else is left
}

// Machine is an image and what it is booted with.
type Machine struct {
	Image
	Memory int // in MiB; 0 for 2048
	// Drives are files with a file system each, which are read-only: /dev/nvme3n1
	// and those after it, since root, input and output are the first three.
	Drives []string
	// Clock is how many kHz the machine takes its processor's time stamp counter
	// to count in a millisecond; 0 for as many as it does. With more, its time
	// passes as much slower: an emulated processor is slow, and a program that
	// allows others a time of its own choosing fails there for nothing else.
	Clock int
}

// Run boots the image as Machine.Run does.
func (i Image) Run(ctx context.Context, input fs.FS) (Report, error) {
	return Machine{Image: i}.Run(ctx, input)
}

// Run boots the machine and returns when it has powered off. The tree
// input is unpacked at /in there, as root, and /in/run is started once the
// machine is up; it writes a line "ok NAME" or "not ok NAME: WHY" for each
// check to /out/results, and "done" as the last one. An error means that the
// machine did not get that far; the report then holds what there is.
func (m Machine) Run(ctx context.Context, input fs.FS) (Report, error) {
	dir, err := os.MkdirTemp("", "creel-vm-")
	if err != nil {
		return Report{}, fmt.Errorf("make drives: %w", err)
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := writeDrive(in, input); err != nil {
		return Report{}, fmt.Errorf("write input drive: %w", err)
	}
	if err := os.WriteFile(out, nil, 0o600); err != nil {
		return Report{}, fmt.Errorf("make output drive: %w", err)
	}
	if err := os.Truncate(out, outSize); err != nil {
		return Report{}, fmt.Errorf("make output drive: %w", err)
	}

	console, err := m.boot(ctx, dir, in, out)
	report := Report{Console: console}
	if err != nil {
		return report, fmt.Errorf("boot machine: %w", err)
	}
	if report.Files, err = readDrive(out); err != nil {
		return report, fmt.Errorf("read output drive: %w", err)
	}
	report.Checks, err = parseResults(string(report.Files["results"]))
	return report, err
}

// boot runs QEMU to its end and returns what the serial console said.
func (m Machine) boot(ctx context.Context, dir, in, out string) (string, error) {
	socket, stop, err := startTPM(ctx, dir)
	if err != nil {
		return "", err
	}
	defer stop()
	line := kernelLine
	if m.Clock > 0 { // x86: kernel-parameters.txt
		line += fmt.Sprintf(" tsc=reliable clocksource=tsc hpet=disable tsc_early_khz=%d", m.Clock)
	}
	args := []string{
		"-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64", "-smp", "2", "-m", strconv.Itoa(cmp.Or(m.Memory, 2048)),
		"-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
		"-kernel", m.Kernel, "-append", line,
		"-chardev", "socket,id=tpm,path=" + socket, "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm",
	}
	type drive struct{ id, options string }
	drives := []drive{
		{"root", "snapshot=on,file=" + m.Root},
		{"in", "readonly=on,file=" + in},
		{"out", "cache=unsafe,file=" + out},
	}
	for n, path := range m.Drives {
		drives = append(drives, drive{fmt.Sprintf("more%d", n), "readonly=on,file=" + path})
	}
	for _, drive := range drives {
		args = append(args,
			"-drive", "if=none,format=raw,id="+drive.id+","+drive.options,
			"-device", "nvme,serial="+drive.id+",drive="+drive.id)
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	err = cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return console.String(), err
}

// tpmTime is how long the TPM may take until it listens.
const tpmTime = 10 * time.Second

// startTPM starts a TPM 2.0 of the machine's own, a new one with each boot, and
// gives the socket by which QEMU finds it. It ends with its machine, or when
// the machine did not come to use it with stop.
func startTPM(ctx context.Context, dir string) (socket string, stop func(), err error) {
	socket = filepath.Join(dir, "tpm")
	cmd := exec.CommandContext(ctx, "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir,
		"--ctrl", "type=unixio,path="+socket, "--flags", "not-need-init,startup-clear", "--terminate")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start TPM: %w", err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // says that it was killed, or that it has ended with its machine
	}
	for deadline := time.Now().Add(tpmTime); ; time.Sleep(10 * time.Millisecond) {
		if _, err = os.Stat(socket); err == nil {
			return socket, stop, nil
		}
		if time.Now().After(deadline) {
			stop()
			return "", nil, fmt.Errorf("start TPM: %w: %s", err, said.String())
		}
	}
}

// writeDrive writes the tree as a tar, padded to whole 4 KiB blocks because a
// drive has no end of file.
func writeDrive(path string, tree fs.FS) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := tar.NewWriter(file)
	if err := archive.AddFS(tree); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return errors.Join(file.Truncate((size+4095)/4096*4096), file.Close())
}

// readDrive reads every regular file of the tar the machine wrote.
func readDrive(path string) (map[string][]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	files := map[string][]byte{}
	archive := tar.NewReader(file)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return files, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			return files, err
		}
		files[strings.TrimPrefix(header.Name, "./")] = data
	}
}

// parseResults reads the lines of /out/results. Without the last one the
// script ended early, and what it did not say must not count as fine.
func parseResults(text string) ([]Check, error) {
	var checks []Check
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "done" {
			return checks, nil
		}
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			checks = append(checks, Check{Name: name, OK: true})
			continue
		}
		rest, ok := strings.CutPrefix(line, "not ok ")
		if !ok {
			return checks, fmt.Errorf("read results: unknown line %q", line)
		}
		name, why, _ := strings.Cut(rest, ": ")
		checks = append(checks, Check{Name: name, Why: why})
	}
	return checks, errors.New("read results: the script ended before its last line")
}

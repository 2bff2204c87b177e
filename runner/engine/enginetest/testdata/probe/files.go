package main

import (
	"bytes"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// write tries to change each directory, and undoes what it could.
func write(dirs []string) {
	for _, dir := range dirs {
		name := filepath.Join(dir, "creel-attack")
		made := func(what string, err error) {
			report(what+" "+dir, err)
			if err == nil {
				os.Remove(name)
			}
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		f.Close()
		made("create", err)
		made("mkdir", os.Mkdir(name, 0o700))
		made("symlink", os.Symlink("/", name))
		made("fifo", unix.Mkfifo(name, 0o600))
		made("rename", rename(dir, name))
		report("chmod "+dir, os.Chmod(dir, 0o755))
		report("touch "+dir, unix.Utimes(dir, nil))
		report("setxattr "+dir, unix.Setxattr(dir, "user.creel", []byte("x"), 0))
	}
}

// rename moves an entry of a directory onto itself, by a new name.
func rename(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return unix.ENOENT
	}
	old := filepath.Join(dir, entries[0].Name())
	if err := os.Rename(old, name); err != nil {
		return err
	}
	return os.Rename(name, old)
}

// read reads the beginning of each file.
func read(paths []string) {
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			report(path, err)
			continue
		}
		b := make([]byte, 64)
		n, err := f.Read(b)
		f.Close()
		if err == io.EOF {
			err = nil
		}
		if err == nil && n == 0 {
			say(path, "empty")
			continue
		}
		report(path, err)
	}
}

// opens opens each file for writing, and writes nothing.
func opens(paths []string) {
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		report(path, err)
	}
}

// handle opens a file by the handle that the test took of it outside, on the
// file system of each directory: the shocker exploit.
func handle(args []string) {
	kind, err := strconv.Atoi(args[0])
	if err != nil {
		report("parse", err)
		return
	}
	data, err := hex.DecodeString(args[1])
	if err != nil {
		report("parse", err)
		return
	}
	for _, dir := range args[2:] {
		at, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_, err = unix.OpenByHandleAt(at, unix.NewFileHandle(int32(kind), data), unix.O_RDONLY)
		}
		report("by handle on "+dir, err)
	}
}

// find tells in which file, by name or content, a text is seen anywhere below
// the directories, without /usr and the directories of processes.
func find(args []string) {
	text := []byte(args[0])
	for _, root := range args[1:] {
		filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || path == "/usr" || strings.HasPrefix(path, "/proc/") && entry.IsDir() && path != "/proc/sys" {
				return fs.SkipDir
			}
			if strings.Contains(entry.Name(), string(text)) {
				say("name", path)
			}
			if !entry.Type().IsRegular() {
				return nil
			}
			if f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
				content, _ := io.ReadAll(io.LimitReader(f, 8<<20))
				f.Close()
				if bytes.Contains(content, text) {
					say("content", path)
				}
			}
			return nil
		})
	}
	say("end", "ok")
}

// nodes tries to make device nodes, and to read those that it is given.
func nodes(args []string) {
	for _, path := range args {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			name := filepath.Join(path, "creel-node")
			for what, mode := range map[string]uint32{"character device": unix.S_IFCHR, "block device": unix.S_IFBLK, "fifo": unix.S_IFIFO} {
				err := unix.Mknod(name, mode|0o600, int(unix.Mkdev(1, 5)))
				report(what+" in "+path, err)
				if err == nil {
					os.Remove(name)
				}
			}
			continue
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_, err = unix.Read(fd, make([]byte, 1))
		}
		report(path, err)
	}
}

// ids tells who this process is, whatever its file's mode bits promised.
func ids([]string) {
	say("euid", strconv.Itoa(unix.Geteuid()))
	say("egid", strconv.Itoa(unix.Getegid()))
	say("capabilities", statusOf("self", "CapEff"))
	report("become root", unix.Setresuid(0, 0, 0))
}

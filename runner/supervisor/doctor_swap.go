package supervisor

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// checkSwap tells whether memory of the supervisor could be written to a disk
// as it is. Values are in locked memory, which never is; what is not are the
// copies that the libraries make which talk to a vault.
func (s *Supervisor) checkSwap(context.Context) api.Finding {
	return swapFinding(swapReader{os.DirFS("/"), deviceOf})
}

// swapReader reads what the kernel says of swap.
type swapReader struct {
	root   fs.FS // /
	device func(path string) (string, error)
}

func swapFinding(r swapReader) api.Finding {
	areas, err := r.areas()
	if err != nil {
		return api.Finding{Level: levelWarning, Detail: err.Error()}
	}
	var safe, open []string
	for _, area := range areas {
		if how := r.protection(area); how != "" {
			safe = append(safe, area+" ("+how+")")
		} else {
			open = append(open, area)
		}
	}
	switch {
	case len(areas) == 0:
		return api.Finding{Level: levelOK, Detail: "none"}
	case len(open) == 0:
		return api.Finding{Level: levelOK, Detail: strings.Join(safe, ", ")}
	case r.barred():
		return api.Finding{Level: levelOK, Detail: "not known to be encrypted: " + strings.Join(open, ", ") +
			"; neither the supervisor nor its sandboxes can use it (memory.swap.max)"}
	}
	return api.Finding{Level: levelWarning, Detail: "not known to be encrypted: " + strings.Join(open, ", ") +
		"; credentials are in locked memory and sandboxes never use swap, but what talks to a vault keeps copies in ordinary memory",
		Hint: "encrypt it with a random key (crypttab(5), swap), or start creeld by its unit on cgroup v2, where MemorySwapMax=0 keeps it from swap"}
}

// areas are the files and devices that the kernel swaps to (proc(5), swaps).
func (r swapReader) areas() ([]string, error) {
	data, err := fs.ReadFile(r.root, "proc/swaps")
	if err != nil {
		return nil, err
	}
	var areas []string
	for n, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		name, _, _ := strings.Cut(line, " ")
		if name, _, _ = strings.Cut(name, "\t"); n > 0 { // the first is a heading
			areas = append(areas, unescape(name))
		}
	}
	return areas, nil
}

// unescape undoes the kernel's way to write a name with white space.
func unescape(name string) string {
	for _, c := range []string{" ", "\t", "\n", "\\"} {
		name = strings.ReplaceAll(name, fmt.Sprintf("\\%03o", c[0]), c)
	}
	return name
}

// deviceOf names the block device that path is, or that it is stored on, by
// its numbers.
func deviceOf(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", err
	}
	number := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		number = st.Rdev
	}
	return strconv.Itoa(int(unix.Major(number))) + ":" + strconv.Itoa(int(unix.Minor(number))), nil
}

// protection says what keeps an area from holding memory as it is; empty where
// nothing is known to.
func (r swapReader) protection(area string) string {
	device, err := r.device(area)
	if err != nil {
		return ""
	}
	dir := "sys/dev/block/" + device
	if backing, err := fs.ReadFile(r.root, dir+"/backing_dev"); err == nil { // zram (zram.rst)
		if strings.TrimSpace(string(backing)) == "none" {
			return "in memory"
		}
		return ""
	}
	if r.encrypted(dir, maxStack) {
		return "encrypted"
	}
	return ""
}

// maxStack bounds how many devices are looked at below one another.
const maxStack = 8

// ciphers begin the names that cryptsetup(8) gives devices that it encrypts;
// those that it only checks are called CRYPT-INTEGRITY and CRYPT-VERITY.
var ciphers = []string{"CRYPT-LUKS", "CRYPT-PLAIN-"}

// encrypted says whether dm-crypt is at or below a device, on each way down.
func (r swapReader) encrypted(dir string, deep int) bool {
	id, _ := fs.ReadFile(r.root, dir+"/dm/uuid") // only a mapped device has one
	if slices.ContainsFunc(ciphers, func(cipher string) bool { return strings.HasPrefix(string(id), cipher) }) {
		return true
	}
	below, err := fs.ReadDir(r.root, dir+"/slaves")
	if err != nil || len(below) == 0 || deep == 0 {
		return false
	}
	for _, device := range below {
		if !r.encrypted(dir+"/slaves/"+device.Name(), deep-1) {
			return false
		}
	}
	return true
}

// barred says whether this process's control group, or one above it, may not
// use swap (cgroup-v2.rst, memory.swap.max).
func (r swapReader) barred() bool {
	data, err := fs.ReadFile(r.root, "proc/self/cgroup")
	group, unified := strings.CutPrefix(strings.TrimSpace(string(data)), "0::/")
	if err != nil || !unified || strings.Contains(group, "\n") {
		return false
	}
	for group = path.Clean("/" + group); group != "/"; group = path.Dir(group) {
		limit, err := fs.ReadFile(r.root, path.Join("sys/fs/cgroup", group, "memory.swap.max"))
		if err == nil && strings.TrimSpace(string(limit)) == "0" {
			return true
		}
	}
	return false
}

package supervisor

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// kernelOf says of files and devices what a test wants, as /proc and /sys do.
func kernelOf(files map[string]string, devices map[string]string) swapReader {
	root := fstest.MapFS{}
	for name, text := range files {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return swapReader{root, func(path string) (string, error) {
		if device, ok := devices[path]; ok {
			return device, nil
		}
		return "", fs.ErrNotExist
	}}
}

const swapsHeading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

func TestDoctorWarnsOfSwapThatIsNotEncrypted(t *testing.T) {
	const plain, crypt, lvm, zram = "/dev/sda2", "/dev/dm-1", "/dev/dm-2", "/dev/zram0"
	devices := map[string]string{plain: "8:2", crypt: "253:1", lvm: "253:2", zram: "252:0", "/swap file": "8:1", "/luks/file": "253:1"}
	sys := map[string]string{
		"sys/dev/block/8:2/partition":                  "2\n",
		"sys/dev/block/253:1/dm/uuid":                  "CRYPT-PLAIN-swap\n",
		"sys/dev/block/253:1/slaves/sda3/partition":    "3\n",
		"sys/dev/block/253:2/dm/uuid":                  "LVM-x\n",
		"sys/dev/block/253:2/slaves/dm-0/dm/uuid":      "CRYPT-LUKS2-x\n",
		"sys/dev/block/252:0/backing_dev":              "none\n",
		"sys/fs/cgroup/system.slice/x/memory.swap.max": "0\n",
	}
	for _, test := range []struct {
		name, swaps, more, file, level, detail string
	}{
		{"none", "", "", "", levelOK, "none"},
		{"a partition", plain + " partition\t1\t0\t-2\n", "", "", levelWarning, plain},
		{"a file", "/swap\\040file file\t1\t0\t-2\n", "", "", levelWarning, "/swap file"},
		{"one that is gone", "/gone file\t1\t0\t-2\n", "", "", levelWarning, "/gone"},
		{"an encrypted one", crypt + "\tpartition\t1\t0\t-2\n", "", "", levelOK, crypt + " (encrypted)"},
		{"a file on an encrypted device", "/luks/file\tfile\t1\t0\t-2\n", "", "", levelOK, "/luks/file (encrypted)"},
		{"a volume on an encrypted device", lvm + "\tpartition\t1\t0\t-2\n", "", "", levelOK, lvm + " (encrypted)"},
		{"a device that is only checked", crypt + " p\n", "CRYPT-INTEGRITY-swap\n", "sys/dev/block/253:1/dm/uuid", levelWarning, crypt},
		{"a volume on two devices", lvm + "\tpartition\t1\t0\t-2\n", "sda", "sys/dev/block/253:2/slaves/sda/size", levelWarning, lvm},
		{"compressed memory", zram + "\tpartition\t1\t0\t-2\n", "", "", levelOK, zram + " (in memory)"},
		{"compressed memory that is written back", zram + "\tpartition\t1\t0\t-2\n", "/dev/sda4\n", "sys/dev/block/252:0/backing_dev", levelWarning, zram},
		{"both", crypt + " p\n" + plain + " p\n", "", "", levelWarning, "encrypted: " + plain + ";"},
		{"a group that may not", plain + " p\n", "0::/system.slice/x/supervisor\n", "proc/self/cgroup", levelOK, "neither the supervisor"},
		{"another group", plain + " p\n", "0::/system.slice/y\n", "proc/self/cgroup", levelWarning, plain},
		{"the topmost group", plain + " p\n", "0::/\n", "proc/self/cgroup", levelWarning, plain},
		{"groups of version 1", plain + " p\n", "1:memory:/system.slice/x\n0::/system.slice/x\n", "proc/self/cgroup", levelWarning, plain},
	} {
		files := map[string]string{"proc/swaps": swapsHeading + test.swaps}
		for name, text := range sys {
			files[name] = text
		}
		if test.file != "" {
			files[test.file] = test.more
		}
		got := swapFinding(kernelOf(files, devices))
		if got.Level != test.level || !strings.Contains(got.Detail, test.detail) || (got.Hint != "") != (got.Level == levelWarning) {
			t.Errorf("%s: %+v, want level %s and %q", test.name, got, test.level, test.detail)
		}
	}
	if got := swapFinding(kernelOf(nil, nil)); got.Level != levelWarning {
		t.Errorf("without /proc: %+v", got)
	}
}

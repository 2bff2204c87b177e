package host

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestMain plays another process when it is started with this argument.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && (os.Args[1] == "hardened" || os.Args[1] == "plain") {
		var err error
		if os.Args[1] == "hardened" {
			err = Harden()
		}
		fmt.Println(err)
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the test has looked
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// seen is what the kernel says of a process: the group that its files in /proc
// belong to, its core limit, and what of its memory a core would have.
type seen struct{ group, limit, filter string }

func look(t *testing.T, role string) seen {
	t.Helper()
	const group = 1
	cmd := exec.Command("/proc/self/exe", role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: group}}
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	defer func() { check(t, cmd.Wait()) }()
	defer stdin.Close()
	if said, err := bufio.NewReader(stdout).ReadString('\n'); said != "<nil>\n" || err != nil {
		t.Fatalf("a process that is %s says %q, %v", role, said, err)
	}
	proc := fmt.Sprintf("/proc/%d/", cmd.Process.Pid)
	info, err := os.Stat(proc + "mem")
	check(t, err)
	limits, err := os.ReadFile(proc + "limits")
	check(t, err)
	_, rest, _ := strings.Cut(string(limits), "Max core file size")
	limit, _, _ := strings.Cut(rest, "\n")
	filter, err := os.ReadFile(proc + "coredump_filter")
	check(t, err)
	return seen{
		group:  fmt.Sprint(info.Sys().(*syscall.Stat_t).Gid),
		limit:  strings.Join(strings.Fields(limit), " "),
		filter: strings.TrimSpace(string(filter)),
	}
}

// What is not dumpable shows as files in /proc that belong to root, whatever
// the process's own group (proc(5)).
func TestHardenedProcessIsInNoCoreAndNotForOthers(t *testing.T) {
	want := seen{group: "0", limit: "1 1 bytes", filter: "00000000"}
	if got := look(t, "hardened"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	plain := look(t, "plain") // the control
	if plain.group != "1" || plain.limit == want.limit || plain.filter == want.filter {
		t.Errorf("control: a process that is not hardened is %+v", plain)
	}
}

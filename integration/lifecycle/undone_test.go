package lifecycle

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestDockerDaemonKilledInLaunchesLeavesNothing kills it at four moments of
// launches. A caller is told that creel failed, or that the sandbox was ended
// when its command already ran.
//
// What the daemon leaves of its own (a shim without a process, and its files)
// it does not tell of and no client of it can remove. How many connections to it
// wait for another call is no promise either.
func TestDockerDaemonKilledInLaunchesLeavesNothing(t *testing.T) {
	r := testrig.Start(t, testrig.Options{Target: byDocker})
	before := idle(t, r)
	codes := map[int]int{}
	for i := range 4 {
		clients, said := make([]*exec.Cmd, 4), make([]bytes.Buffer, 4)
		for j := range clients {
			clients[j] = r.Command("exec", "--", "sleep", "1000")
			clients[j].Stderr = &said[j]
			check(t, clients[j].Start())
		}
		// Not to synchronise: to hit another moment of the launch each time.
		time.Sleep(time.Duration(i*120) * time.Millisecond)
		testrig.Daemon().KillDaemon()
		testrig.Daemon().StartDaemon()
		for j, client := range clients {
			_ = client.Wait() // says what the exit code says
			code := client.ProcessState.ExitCode()
			codes[code]++
			failed := strings.Contains(said[j].String(), "creel: error: ") && strings.Contains(said[j].String(), "creel: hint: ")
			if code != 137 && (code != 125 || !failed) {
				t.Errorf("round %d: ended with %d and said %q", i, code, &said[j])
			}
		}
	}
	if codes[125] == 0 {
		t.Errorf("no launch was hit: %v", codes)
	}
	settle(t, r, before, "processes beside the daemon", "mounts of the daemon", "tasks of containerd",
		"runtime states of the daemon", "directories of containers", "layers of containers", "supervisor descriptors")
	if got := r.Shell("exit 7"); got.Code != 7 {
		t.Errorf("afterwards a command ended with %d: %s", got.Code, got.Stderr)
	}
}

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// programOf gives the child of an init that is the agent's program: others may be
// orphans of it.
func programOf(t *testing.T, init int) int {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", init)) // whichever thread forked it
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(data)) {
			if line, _ := os.ReadFile("/proc/" + child + "/cmdline"); strings.HasPrefix(string(line), "python3\x00/agent/agent.py") {
				pid, err := strconv.Atoi(child)
				check(t, err)
				return pid
			}
		}
	}
	t.Fatalf("%d has no child that is the agent's program", init)
	return 0
}

// alive says whether a process runs; one that only waits for its parent does not.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// childOf gives the one child of a process, whichever thread of it forked.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	var children []string
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		children = append(children, strings.Fields(string(data))...)
	}
	if len(children) != 1 {
		t.Fatalf("the children of %d are %q", pid, children)
	}
	child, err := strconv.Atoi(children[0])
	check(t, err)
	return child
}

// alive says whether a process runs; one that only waits for its parent does not.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(data), ") Z ")
}

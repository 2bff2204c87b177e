package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// children counts the processes that PID 1 has.
func (b *box) children() int {
	b.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", b.pid))
	must(b.t, err)
	return len(strings.Fields(string(data)))
}

func TestWhatTheCommandLeftLingersUntilTheSocketIsClosed(t *testing.T) {
	job := script("sleep 1000 >&- 2>&- &", "exit 3")
	job.Linger = true
	b := ready(t, engineOptions{})
	must(t, b.start(job))
	if got := b.finish(""); got.Code != 3 {
		t.Errorf("exit %d", got.Code)
	}
	if n := b.children(); n != 1 {
		t.Errorf("%d processes are left, want 1", n)
	}
	select {
	case <-b.ended:
		t.Error("the sandbox has ended")
	default:
	}
	b.Close()
	<-b.ended
}

// However short the command: what it left is not ended with it.
func TestWhatAQuickCommandLeftLingers(t *testing.T) {
	for range 20 {
		job := script("exec 3<&0; (read line <&3; echo $line >&2) >&- &")
		job.Linger = true
		b := ready(t, engineOptions{})
		must(t, b.start(job))
		if _, err := b.Wait(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(b.stdin, "it goes on")
		if got := readAll(b.stderr); got != "it goes on\n" {
			t.Fatalf("what was left wrote %q", got)
		}
		<-b.ended
	}
}

func TestSandboxThatLingersEndsWithTheLastProcess(t *testing.T) {
	for _, left := range []string{"", "(read line; exit 4) <&3 >&- 2>&- &", "(true; (read line; true) <&3 >&- 2>&- &) &"} {
		job := script("exec 3<&0", left, "exec 3<&-; exit 0")
		job.Linger = true
		b := ready(t, engineOptions{})
		must(t, b.start(job))
		if exit, err := b.Wait(); err != nil || exit.Code != 0 {
			t.Fatalf("%q: %+v, %v", left, exit, err)
		}
		if left != "" {
			select {
			case <-b.ended:
				t.Errorf("%q: the sandbox has ended before it", left)
			default:
			}
		}
		b.stdin.Close() // what reads it ends
		<-b.ended
	}
}

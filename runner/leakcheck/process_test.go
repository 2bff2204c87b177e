package leakcheck

import (
	"os"
	"strings"
	"testing"
)

func TestProcessThatEndsIsKnownByWhereItWas(t *testing.T) {
	const nobody = 1 << 22 // beyond every pid (proc(5), pid_max)
	if p := processIn(nobody, "pid:[7]"); p.space != "pid:[7]" || !strings.HasSuffix(p.name, ", gone") {
		t.Errorf("one that has ended is %+v", p)
	}
	if p := processIn(os.Getpid(), "pid:[7]"); p.space != pidNamespace(os.Getpid()) || p.space == "pid:[7]" {
		t.Errorf("one that has the number of another by now is %+v", p)
	}
}

package main

import (
	"os"
	"slices"
	"testing"
)

func TestWhatIsLeftOnTheMachineIsSeen(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "creel-left-")
	if err != nil {
		t.Fatal(err)
	}
	before := lookAtMachine()
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	after := lookAtMachine()
	if got := after.changes(before); !slices.Contains(got, "file, gone: "+dir) {
		t.Errorf("a directory is gone, and all that is seen is %q", got)
	}
	if got := before.changes(after); !slices.Contains(got, "file, new: "+dir) {
		t.Errorf("a directory is new, and all that is seen is %q", got)
	}
	if len(before["mount"]) == 0 || len(before["network interface"]) == 0 || len(before["setting"]) != len(settings) {
		t.Errorf("of this machine nothing is seen: %v", before)
	}
}

func TestChangesCountWhatThereIsTwice(t *testing.T) {
	before := machine{"mount": {"/a", "/a", "/b"}}
	after := machine{"mount": {"/a", "/b", "/c"}, "process": {"7 creeld"}}
	want := []string{"mount, gone: /a", "mount, new: /c", "process, new: 7 creeld"}
	if got := after.changes(before); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := before.changes(before); len(got) != 0 {
		t.Errorf("nothing has changed, but %q", got)
	}
}

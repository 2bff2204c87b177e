package supervisor

import (
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/filestate"
)

func TestUsersAreAskedOnceWhileNothingChanges(t *testing.T) {
	var u users
	first := u.current()
	if uid, ok := u.uid("daemon"); !ok || uid != 1 {
		t.Errorf("daemon is %d, %v", uid, ok)
	}
	if _, ok := u.uid("no-such-user-of-this-host"); ok {
		t.Error("a user that is not there has a uid")
	}
	if name := u.name(1); name != "daemon" {
		t.Errorf("uid 1 is %q", name)
	}
	if name := u.name(4123456789); name != "4123456789" {
		t.Errorf("a uid that nobody has is %q", name)
	}
	who, err := u.identify("daemon")
	if err != nil || who.UID != 1 || who.Name != "daemon" {
		t.Errorf("daemon is %+v, %v", who, err)
	}
	if u.current() != first {
		t.Fatal("the answers are thrown away although nothing changed")
	}
	// What is remembered is what is given: wrong answers show where they come from.
	first.uids.Store("daemon", uidAnswer{4711, true})
	first.names.Store(uint32(1), "remembered")
	if uid, _ := u.uid("daemon"); uid != 4711 || u.name(1) != "remembered" {
		t.Error("what was asked once is asked again")
	}

	for name, change := range map[string]func(){
		"a changed file": func() { first.files[0] = filestate.Of("/") },
		"an old answer":  func() { first.made = time.Now().Add(-usersAge) },
	} {
		u.book.Store(first)
		files, made := first.files, first.made
		change()
		if uid, _ := u.uid("daemon"); uid != 1 {
			t.Errorf("%s: daemon is %d", name, uid)
		}
		first.files, first.made = files, made
	}
}

func TestOnlySoundUsersAreRemembered(t *testing.T) {
	var u users
	for range 2 {
		if who, err := u.identify("root"); err == nil {
			t.Errorf("root: becomes %+v", who)
		}
	}
}

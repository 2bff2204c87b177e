package supervisor

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/creel-sandbox/creel/runner/filestate"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// userDatabases are the files that say who is who (passwd(5), group(5)), and
// the one that says where else to ask (nsswitch.conf(5)).
var userDatabases = [...]string{"/etc/passwd", "/etc/group", "/etc/nsswitch.conf"}

// usersAge bounds how long an answer is used that may have come from elsewhere,
// such as a directory server.
const usersAge = 30 * time.Second

// users remembers what this host said of its users and groups. To ask costs as
// much as a tenth of a command, and every command asks three times.
type users struct{ book atomic.Pointer[userBook] }

// userBook is what was asked while the databases were in one state. Two that
// ask the same at once both look it up.
type userBook struct {
	files [len(userDatabases)]filestate.State
	made  time.Time
	// What was found, by what was asked.
	uids  sync.Map // name to uidAnswer
	names sync.Map // uid to name
	whos  sync.Map // user of a policy to rootfs.Identity
}

type uidAnswer struct {
	uid   uint32
	known bool
}

// current gives a book that is still true.
func (u *users) current() *userBook {
	var files [len(userDatabases)]filestate.State
	for i, path := range userDatabases {
		files[i] = filestate.Of(path)
	}
	if b := u.book.Load(); b != nil && b.files == files && time.Since(b.made) < usersAge {
		return b
	}
	b := &userBook{files: files, made: time.Now()}
	u.book.Store(b)
	return b
}

// forget has the next question asked anew.
func (u *users) forget() { u.book.Store(nil) }

// unknown says that a lookup has found nobody, and has not just failed.
func unknown(err error) bool {
	var name user.UnknownUserError
	var uid user.UnknownUserIdError
	var gid user.UnknownGroupIdError
	return errors.As(err, &name) || errors.As(err, &uid) || errors.As(err, &gid)
}

// uid takes a user name or a decimal uid.
func (u *users) uid(name string) (uint32, bool) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), true
	}
	b := u.current()
	if answer, ok := b.uids.Load(name); ok {
		return answer.(uidAnswer).uid, answer.(uidAnswer).known
	}
	var answer uidAnswer
	found, err := user.Lookup(name)
	if err == nil {
		n, err := strconv.ParseUint(found.Uid, 10, 32)
		answer = uidAnswer{uint32(n), err == nil}
	}
	if err == nil || unknown(err) {
		b.uids.Store(name, answer)
	}
	return answer.uid, answer.known
}

// name is for people; a uid that has none is its own.
func (u *users) name(uid uint32) string {
	b := u.current()
	if name, ok := b.names.Load(uid); ok {
		return name.(string)
	}
	name := strconv.FormatUint(uint64(uid), 10)
	found, err := user.LookupId(name)
	if err == nil {
		name = found.Username
	}
	if err == nil || unknown(err) {
		b.names.Store(uid, name)
	}
	return name
}

// identify looks up who a sandbox runs as: a name of this host, or uid:gid.
func (u *users) identify(declared string) (rootfs.Identity, error) {
	b := u.current()
	if who, ok := b.whos.Load(declared); ok {
		return who.(rootfs.Identity), nil
	}
	who, sure, err := identify(declared)
	if err == nil && sure {
		b.whos.Store(declared, who)
	}
	return who, err
}

// identify is not sure of an identity whose names it could not look up.
func identify(declared string) (who rootfs.Identity, sure bool, err error) {
	uidText, gidText, numeric := strings.Cut(declared, ":")
	if !numeric {
		u, err := user.Lookup(declared)
		if err != nil {
			return who, false, fmt.Errorf("user %q: not a user of this host", declared)
		}
		uidText, gidText = u.Uid, u.Gid
	}
	uid, err := strconv.ParseUint(uidText, 10, 32)
	if err != nil {
		return who, false, fmt.Errorf("parse uid: %w", err)
	}
	gid, err := strconv.ParseUint(gidText, 10, 32)
	if err != nil {
		return who, false, fmt.Errorf("parse gid: %w", err)
	}
	// The policy refuses 0 by number; a name that means 0 is only seen here.
	if uid == 0 || gid == 0 {
		return who, false, fmt.Errorf("user %q: is root, or its group is", declared)
	}
	who = rootfs.Identity{Name: "sandbox", Group: "sandbox", UID: uint32(uid), GID: uint32(gid)}
	u, userErr := user.LookupId(uidText)
	if userErr == nil {
		who.Name = u.Username
	}
	g, groupErr := user.LookupGroupId(gidText)
	if groupErr == nil {
		who.Group = g.Name
	}
	return who, (userErr == nil || unknown(userErr)) && (groupErr == nil || unknown(groupErr)), nil
}

// Package filestate tells whether a file is still the one that was read, so
// that what was read of it can be used again.
//
// It imports golang.org/x/sys and package time only, and never opens a file.
package filestate

import (
	"time"

	"golang.org/x/sys/unix"
)

// State changes when a file does, or another takes its place (stat(2)); two
// are compared with ==. Of a file that cannot be looked at it is zero.
type State struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// Of is the state of the file at a path, through symbolic links.
func Of(path string) State {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return State{}
	}
	return State{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// tick is more than the clock takes to move on by which any file system says
// when a file was changed: some know whole seconds, or two.
const tick = 3 * time.Second

// Settled says that the file was last changed so long before now, when its
// state was looked at, that a change from now on will be seen in its state. A
// younger one may be changed again, or replaced, without.
func (s State) Settled(now time.Time) bool {
	return s != State{} && now.Sub(time.Unix(s.ctime.Unix())) > tick
}

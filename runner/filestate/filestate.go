// Package filestate tells whether a file is still the one that was read, so
// that what was read of it can be used again.
//
// It imports golang.org/x/sys only, and never opens a file.
package filestate

import "golang.org/x/sys/unix"

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

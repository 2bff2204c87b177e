// Package registers forgets what processor registers hold of a secret.
//
// What copies, compares or searches bytes takes them through vector registers,
// up to 256 at once, and leaves them there. A thread that waits keeps its
// registers for as long as it waits, and gcore(1) writes them down, also of a
// process that has nothing else to show.
//
// It imports golang.org/x/sys only, since creel-init links it. It never touches
// memory.
package registers

// Clear zeroes the vector registers of the thread that it runs on. Whoever has
// handled a secret calls it next: before anything that may wait, after which
// Go may run the caller on another thread.
//
// The upper 16 of AVX-512 are left alone: Go puts no bytes there.
func Clear() { clearAll() }

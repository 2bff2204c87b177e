// Command probe attempts, from wherever it is started, what a sandbox must
// not be able to do, and prints one line for each attempt: its name, a tab and
// "ok" or the name of the errno. Run outside of a sandbox it is the control.
//
// It imports the standard library and golang.org/x/sys only, and never leaves
// behind what an attempt made. It has no opinion on what should succeed: the
// tests have.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// attempts are the groups of attempts, by the word that asks for one.
var attempts map[string]func(args []string)

func main() {
	attempts = map[string]func([]string){
		"write": write, "read": read, "opens": opens, "handle": handle, "find": find, "nodes": nodes, "ids": ids,
		"mounts": mounts, "namespaces": namespaces, "calls": calls, "sockets": sockets, "abi": abi, "terminal": terminal,
		"peek": peek, "signals": signals, "massacre": massacre, "meddle": meddle, "orphans": orphans,
		"hold": hold, "look": look, "dial": dial, "view": view, "mountinfo": mountinfo, "namespace": namespace,
		"fill": fill, "files": files, "descriptors": descriptors, "memory": memory, "sparse": sparse, "survive": survive,
		"nothing": func([]string) {}, "wait": func([]string) { untilEOF() },
	}
	if len(os.Args) < 2 || attempts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "probe: error: the first argument is none of the attempts")
		os.Exit(2)
	}
	attempts[os.Args[1]](os.Args[2:])
}

// report prints the outcome of one attempt.
func report(name string, err error) { say(name, outcome(err)) }

// say prints one line; a value with line breaks would be two.
func say(name, value string) { fmt.Printf("%s\t%q\n", name, value) }

func outcome(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// call makes a raw system call.
func call(nr uintptr, args ...uintptr) (uintptr, error) {
	args = slices.Concat(args, make([]uintptr, 6-len(args)))
	r, _, errno := unix.Syscall6(nr, args[0], args[1], args[2], args[3], args[4], args[5])
	if errno != 0 {
		return r, errno
	}
	return r, nil
}

// untilEOF returns when the test closes standard input.
func untilEOF() {
	var b [64]byte
	for {
		if n, err := os.Stdin.Read(b[:]); n == 0 || err != nil {
			return
		}
	}
}

// Command creel runs commands in sandboxes that creeld makes, and lists,
// ends and explains them. It runs once per command, so it is kept small: it
// imports the client's side of the wire, package policy and the library of
// its command line, and never an engine, a credential or cgo.
//
// It holds no privilege and decides nothing: who may do what is for creeld
// to say.
package main

import "os"

func main() {
	os.Exit(run(os.Args))
}

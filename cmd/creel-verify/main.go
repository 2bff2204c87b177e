// Command creel-verify is what `creel credential verify-no-leak` executes: it
// runs as root, searches the whole host, and is a program of its own so that
// neither the client, which runs once per command, nor the programs that read
// what strangers wrote can do that.
//
// It may import runner/leakcheck and the client's side of the wire, and never
// has a credential.
package main

import "os"

func main() { os.Exit(run(os.Args)) }

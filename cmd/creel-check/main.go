// Command creel-check reads what others wrote: policies, the supervisor's
// configuration, and workspaces. `creel policy` executes it, and so does the
// supervisor to have a workspace searched for credentials: it is a program of
// its own so that creel, which runs once per command, links nothing that reads
// YAML, and creeld, which holds secrets, nothing that reads a workspace.
//
// It may import policy, runner/hygiene and runner/client, with which `creel
// policy check`, as root, has the supervisor search. It never starts a sandbox,
// and never has a secret or anything that one could be recognised by, but in the
// process that is started to search.
package main

import "os"

func main() { os.Exit(run(os.Args)) }

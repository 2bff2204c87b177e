// Command creel-check reads what others wrote: policies, the supervisor's
// configuration, and workspaces. `creel policy` executes it, and so does the
// supervisor to have a workspace searched for credentials: it is a program of
// its own so that creel, which runs once per command, links nothing that reads
// YAML, and creeld, which holds secrets, nothing that reads a workspace.
//
// It may import policy and runner/hygiene, and never starts a sandbox or
// speaks to the supervisor.
package main

import "os"

func main() { os.Exit(run(os.Args)) }

// Command creel-check reads what others wrote: policies and the supervisor's
// configuration. `creel policy` executes it: it is a program of its own so
// that creel, which runs once per command, links nothing that reads YAML.
//
// It may import policy, and never starts a sandbox or speaks to the
// supervisor.
package main

import "os"

func main() { os.Exit(run(os.Args)) }

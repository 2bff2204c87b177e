// Command creel-image brings container images into creel's store, lists and
// removes them. `creel image` executes it: it is a program of its own so that
// neither creel, which runs once per command, nor creeld, which holds
// secrets, links what reads the bytes of registries and archives.
//
// It may import runner/image and the packages below it, and never starts a
// sandbox or speaks to the supervisor.
package main

import "os"

func main() { os.Exit(run(os.Args)) }

package supervisor

import (
	"os"
	run "os/exec"
)

func Start() {
	if os.Getenv("ROLE") == "" {
		os.Exit(1)
	}
	_ = &run.Cmd{}
}

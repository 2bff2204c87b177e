package supervisor

import (
	_ "github.com/creel-sandbox/creel/cmd/creel"
	_ "github.com/docker/docker/client"
	_ "github.com/seccomp/libseccomp-golang"
	_ "github.com/urfave/cli/v2"
)

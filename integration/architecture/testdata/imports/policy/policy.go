package policy

import (
	_ "os/user"
	_ "strings"

	_ "github.com/creel-sandbox/creel/runner/api"
)

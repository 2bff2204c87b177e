package spec

import (
	"encoding/json"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/creel-sandbox/creel/profiles"
)

// Floor gives the filter that the OCI runtime installs on creel-init, and so
// on everything in a sandbox: what no policy's own profile may open.
func Floor() (*specs.LinuxSeccomp, error) {
	var floor specs.LinuxSeccomp
	if err := json.Unmarshal(profiles.Floor(), &floor); err != nil {
		return nil, fmt.Errorf("decode floor profile: %w", err)
	}
	return &floor, nil
}

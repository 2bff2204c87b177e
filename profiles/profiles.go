// Package profiles holds the seccomp profiles and starter policies that creel
// ships, as the bytes of the files under seccomp/ and policies/.
//
// The files are the source: each seccomp rule carries its reason in "comment".
// A profile is in Docker's seccomp JSON format
// (https://docs.docker.com/engine/security/seccomp/) and is read by
// runner/seccomp, which says what the rules mean together. The floor is in
// the part of that format which the OCI runtime specification shares, so
// that an OCI runtime can install it as it is.
//
// It may import only the standard library. It never parses, never decides
// which profile applies and never touches the operating system.
package profiles

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed seccomp/*.json
var seccompFiles embed.FS

//go:embed policies/*.yaml
var policyFiles embed.FS

// floorName is the one file of seccomp/ that is not a profile to choose: it
// allows by default, and holds for every sandbox anyway.
const floorName = "floor"

// Seccomp returns the profile that a policy calls name in its key "seccomp",
// as JSON; ok is false when there is none. The caller owns the bytes.
func Seccomp(name string) (data []byte, ok bool) {
	if name == floorName || strings.ContainsRune(name, '/') {
		return nil, false
	}
	data, err := seccompFiles.ReadFile("seccomp/" + name + ".json")
	return data, err == nil
}

// SeccompNames lists what Seccomp knows, sorted.
func SeccompNames() []string {
	entries, err := fs.ReadDir(seccompFiles, "seccomp")
	if err != nil {
		// The directory is part of this binary.
		panic("profiles: read embedded seccomp directory: " + err.Error())
	}
	var names []string
	for _, entry := range entries {
		if name := strings.TrimSuffix(entry.Name(), ".json"); name != floorName {
			names = append(names, name)
		}
	}
	return names
}

// Floor returns the filter that the OCI runtime installs on the init of every
// sandbox, whatever its profile: it allows by default and refuses what no
// profile may open. Its rules use only keys of the OCI runtime specification
// ("linux.seccomp") and "comment".
func Floor() []byte {
	data, err := seccompFiles.ReadFile("seccomp/" + floorName + ".json")
	if err != nil {
		// The file is part of this binary.
		panic("profiles: read embedded floor: " + err.Error())
	}
	return data
}

// Policies holds the starter policies, NAME.yaml each, to be copied to the
// policy directory and edited: their sources, owner and justification are
// examples.
func Policies() fs.FS {
	sub, err := fs.Sub(policyFiles, "policies")
	if err != nil {
		// "policies" is a valid path, the only thing Sub checks.
		panic("profiles: open embedded policies: " + err.Error())
	}
	return sub
}

// Package hygiene has a policy's workspaces, with the Git history that lies in
// them, and OpenClaw's own files searched for credentials: by the rules of a
// library, and for the exact values that the supervisor holds.
//
// It starts the search in a process of its own, confined to what it is to
// read, and keeps what it found. It imports policy, child, the standard library
// and golang.org/x/sys. It never reads a workspace itself, and never tells the
// process that does a value: only keyed hashes, which a value can be
// recognised by. What reads is package scan, which creel-check alone links.
package hygiene

// The descriptors of a search, in their order: its places, the memory of the
// last search, and an empty file for that of this one.
const firstDescriptor = 3

// Request is what a search is asked, as JSON on its standard input.
type Request struct {
	Places []Place
	// Needles are the values under management.
	Needles Needles
	// Seconds bounds how long it searches.
	Seconds int
}

// Place is a directory that is searched with all below it, or one file.
type Place struct {
	Name string // its path on the host
	File bool
}

// Descriptor is the number that the i-th place has in the search; those of the
// two memories follow the last.
func Descriptor(i int) int { return firstDescriptor + i }

// Report is what a search found, as JSON on its standard output.
type Report struct {
	Findings []Finding
	// Uncovered is what could not be searched though it may hold something.
	Uncovered []Uncovered
	// Further counts the findings and the uncovered beyond those listed.
	Further int
	Count   Count
}

// Finding is one place that seems to hold a credential. It never holds the
// credential.
type Finding struct {
	// Path is that of a file on the host; with an Object, of the file in the
	// commit, or empty where no commit has it.
	Path string
	Line int // from 1; 0: the file as a whole
	// Repository is the directory of Git's objects, and Object the hexadecimal
	// name of the one that holds it; both are empty for a file.
	Repository, Object string
	Commit             string // the oldest that was found to have it
	// Rule is the name of the library's rule, or RuleManaged.
	Rule string
	// Fingerprint tells the same text, found by the same rule, wherever it is.
	// It is empty for a value under management.
	Fingerprint string
	// Value is the number of the value under management, from 0.
	Value int
	// Again counts the further places of the same text in this repository.
	Again int
}

// RuleManaged is the Rule of a value under management.
const RuleManaged = "managed-value"

// Uncovered is something that was not searched, and why.
type Uncovered struct{ Path, Reason string }

// Count says what a search did.
type Count struct {
	Files       int   // that there are
	FilesRead   int   // since nothing was known of them, or they had changed
	Objects     int   // of Git, that were read
	Searched    int   // of them, that were not known either
	Bytes       int64 // that were compared with the values
	RuledBytes  int64 // that the rules were applied to
	Binary      int   // files and objects that the rules were not applied to
	Long        int   // files and objects that the rules were applied to the beginning of
	Exempt      int   // files and objects that the rules leave out by their name
	OtherOwners int   // files of others that the sandbox cannot read either
}

package api

// CheckRequest asks for the workspaces of a policy to be searched for
// credentials, the values that the supervisor knows among them. The policy need
// not be in force.
type CheckRequest struct {
	File   string `json:"file"`   // what messages call it
	Policy []byte `json:"policy"` // its text
}

// CheckReply says what was found, a line for people each, and what was looked
// for. It holds no value.
type CheckReply struct {
	Findings  []string `json:"findings"`
	Uncovered []string `json:"uncovered"` // what could not be searched
	// Compared counts the values that were looked for, and Unknown names where
	// those come from that the supervisor does not have now.
	Compared int        `json:"compared"`
	Unknown  []string   `json:"unknown"`
	Count    CheckCount `json:"count"`
}

// CheckCount says what a search did, as runner/hygiene counts it.
type CheckCount struct {
	Files       int   `json:"files"`       // that there are
	FilesRead   int   `json:"filesRead"`   // all of them, when nothing was known
	Objects     int   `json:"objects"`     // of Git, that were read
	Searched    int   `json:"searched"`    // of them, that were not known
	Bytes       int64 `json:"bytes"`       // that were compared with the values
	RuledBytes  int64 `json:"ruledBytes"`  // that the rules were applied to
	Binary      int   `json:"binary"`      // files and objects that the rules were not applied to
	Long        int   `json:"long"`        // that they were applied to the beginning of
	Exempt      int   `json:"exempt"`      // that they leave out by their name
	OtherOwners int   `json:"otherOwners"` // files of others that the sandbox cannot read either
}

// Package leakcheck lets people convince themselves, on their own host, that
// creel leaves no credential anywhere: it has creeld run a command with a
// canary in place of each credential of a policy, watches every file that is
// written meanwhile, searches whatever else the host keeps and shows, and
// plants a control in each of those places, which it must find.
//
// It imports runner/api, runner/client and a parser of mount tables, reads what
// is root's to read, and starts two programs: its own, for the control, and
// journalctl. It never has a credential, never prints a canary, and changes
// nothing that lasts but for a few lines with the control in the kernel's log, its
// trace and the journal.
package leakcheck

// limits are what no run can show, for the report.
var limits = []string{
	"what is encoded, compressed or encrypted otherwise than in base64 or hex",
	"what was written into a file and overwritten there before it could be read",
	"what was written only by a mapping that is gone since, into a file that is not in one of the places at rest; --raw finds most of it",
	"names of files that were gone before their directory was listed, or are outside of the places at rest",
	"file systems that neither this process, creeld nor the engine has mounted, such as those of other containers, and those that are mounted while it runs",
	"what is written to a disk but not by a file system: swap, a raw device, a disk's or a machine's own cache; other hosts",
	"processes that came and went between two looks at the list of processes",
	"the memory of processes, other than their environments, arguments and unnamed files; creeld and the command must have the value there",
	"what the sandbox keeps in its own /tmp, which is memory and ends with it",
	"the providers, which were not asked: what systemd, a helper or a vault do with a value before creeld has it",
}

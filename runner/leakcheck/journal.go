package leakcheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const journalPlace = "journal"

// journalSocket takes records in the journal's native protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const journalSocket = "/run/systemd/journal/socket"

// journalctl reads what is in journal files, which compress long fields: a
// search of their bytes would miss those.
const journalctl = "/usr/bin/journalctl"

// lookAtJournal searches all that was logged since, once a record of our own
// is in it.
func lookAtJournal(ctx context.Context, n *notes, s *sought, control Canary, since time.Time) {
	const record = "a record of the journal"
	n.expect(journalPlace, "bytes", record)
	if _, err := os.Stat(journalSocket); err != nil {
		n.absent(journalPlace, "no journald runs")
		return
	}
	if err := logControl(control); err != nil {
		n.problem(journalPlace, "write control: %v", err)
		return
	}
	if out, err := exec.CommandContext(ctx, journalctl, "--sync").CombinedOutput(); err != nil {
		n.problem(journalPlace, "wait for journald: %v: %s", err, strings.TrimSpace(string(out)))
	}
	cmd := exec.CommandContext(ctx, journalctl, "--quiet", "--no-pager", "--all", "--namespace=*", "--output=export", fmt.Sprintf("--since=@%d", since.Unix()))
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err := errors.Join(err, cmd.Start()); err != nil {
		n.problem(journalPlace, "start journalctl: %v", err)
		return
	}
	found, err := s.read(out, maxFile)
	out.Close() // where it was too long, so that journalctl ends
	n.leak(journalPlace, "the journal, as journalctl --output=export", process{}, found)
	n.searched(journalPlace, int(found.size))
	if found.control {
		n.found(journalPlace, record)
	}
	if err := errors.Join(err, cmd.Wait()); err != nil {
		n.problem(journalPlace, "read journal: %v: %s", err, strings.TrimSpace(said.String()))
	}
}

func logControl(control Canary) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	record := "MESSAGE=creel credential verify-no-leak: a control: " + string(control) + "\nPRIORITY=7\nSYSLOG_IDENTIFIER=creel\n"
	return unix.Sendto(fd, []byte(record), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: journalSocket})
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

// noFD is the value of --result-fd when it is not given.
const noFD = -1

// resultSink is where --result or --result-fd writes.
type resultSink struct {
	path string   // of a file to replace; or
	file *os.File // an open one; or neither
}

// openResult refuses, before anything runs, a place that could not be
// written to when it has run.
func openResult(c *cli.Context) (*resultSink, error) {
	path, fd := c.String("result"), c.Int("result-fd")
	switch {
	case c.IsSet("result") && c.IsSet("result-fd"):
		return nil, program.Usagef(c, "--result and --result-fd exclude each other")
	case c.IsSet("result"):
		if err := checkResultPath(path); err != nil {
			return nil, program.Usagef(c, "--result %s: %v", path, err)
		}
		return &resultSink{path: path}, nil
	case c.IsSet("result-fd"):
		if err := checkResultFD(fd); err != nil {
			return nil, program.Usagef(c, "--result-fd %d: %v", fd, err)
		}
		unix.CloseOnExec(fd)
		return &resultSink{file: os.NewFile(uintptr(fd), "result")}, nil
	}
	return &resultSink{}, nil
}

// checkResultPath keeps --result /dev/null from replacing a device.
func checkResultPath(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return errors.New("it exists and is not a regular file; use --result-fd for others")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("write to %s: %w", filepath.Dir(path), err)
	}
	return nil
}

// checkResultFD refuses 0 to 2, which are the command's, and descriptors
// that the caller did not open: those of the Go runtime have no file type.
func checkResultFD(fd int) error {
	if fd <= unix.Stderr {
		return errors.New("it must be 3 or more")
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("it is not open: %w", err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT == 0 || flags&unix.O_ACCMODE == unix.O_RDONLY || flags&unix.O_PATH != 0 {
		return errors.New("it is not open for writing")
	}
	return nil
}

func (s *resultSink) given() bool { return s.path != "" || s.file != nil }

// write records how the command ended, or why creel failed.
func (s *resultSink) write(result *api.Result, err error) error {
	if !s.given() {
		return nil
	}
	data, encodeErr := json.Marshal(outcome(result, err))
	if encodeErr != nil {
		return fmt.Errorf("encode result: %w", encodeErr)
	}
	data = append(data, '\n')
	if s.file != nil {
		defer s.file.Close()
		if _, err := s.file.Write(data); err != nil {
			return fmt.Errorf("write result: %w", err)
		}
		return nil
	}
	return replace(s.path, data)
}

func outcome(result *api.Result, err error) *api.Outcome {
	if err == nil {
		return &api.Outcome{Result: *result}
	}
	var code program.Exit
	switch {
	case errors.As(err, &code):
		return &api.Outcome{Result: api.Result{ExitCode: int(code), Reason: api.ReasonCallerGone}}
	case errors.Is(err, client.ErrStdoutClosed):
		return &api.Outcome{Result: api.Result{ExitCode: api.ExitSignal + int(unix.SIGPIPE), Reason: api.ReasonCallerGone}}
	}
	failure := program.Known(err, api.ExitFailed)
	return &api.Outcome{Result: api.Result{ExitCode: failure.ExitCode, Reason: api.ReasonFailed}, Error: failure}
}

// replace writes a file so that whoever opens it sees all of it or what was
// there before.
func replace(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".creel-result-*")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	_, err = file.Write(data)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		os.Remove(file.Name())
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

package openclaw

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/integration/testrig"
)

// way is one of OpenClaw's ways to run a command.
type way struct {
	*stage
	name  string
	log   string // of what the programs it starts for a command took
	turns []float64
	execs []float64
}

// BenchmarkTurn has the model make one call of exec after another, by turns with
// creel and with the sandboxes that OpenClaw has of its own, by the docker
// program. It reports the median of a whole turn, in milliseconds, and that of
// what the programs took that OpenClaw started for it.
func BenchmarkTurn(b *testing.B) {
	s := start(b)
	ways := []*way{s.throughCreel(b), s.throughDocker(b)}
	for range 3 { // the first makes a container, and all caches are cold
		for _, w := range ways {
			w.turn(b)
		}
	}
	for _, w := range ways {
		w.turns, w.execs = nil, nil
	}
	for b.Loop() {
		for _, w := range ways {
			w.turn(b)
		}
	}
	b.ReportMetric(0, "ns/op") // of both together: of no use
	for _, w := range ways {
		b.ReportMetric(middle(w.turns), w.name+"-turn-ms")
		b.ReportMetric(middle(w.execs), w.name+"-exec-ms")
	}
}

func middle(values []float64) float64 { return slices.Sorted(slices.Values(values))[len(values)/2] }

// turn asks for one command and measures.
func (w *way) turn(b *testing.B) {
	b.Helper()
	check(b, os.Truncate(w.log, 0))
	began := time.Now()
	if _, result := w.doIn(b, "turns", "exec", sh("echo done-in-a-sandbox")); !strings.Contains(result, "done-in-a-sandbox") {
		b.Fatalf("%s: the model was told %q\n%s", w.name, result, w.claw.Log())
	}
	w.turns = append(w.turns, time.Since(began).Seconds()*1000)
	took := 0.0
	data, err := os.ReadFile(w.log)
	check(b, err)
	for line := range strings.Lines(string(data)) {
		began, ended, _ := strings.Cut(strings.TrimSpace(line), " ")
		from, err := strconv.ParseFloat(began, 64)
		check(b, err)
		to, err := strconv.ParseFloat(ended, 64)
		check(b, err)
		took += 1000 * (to - from)
	}
	if took == 0 {
		b.Fatalf("%s: OpenClaw did not start what is timed\n%s", w.name, w.claw.Log())
	}
	w.execs = append(w.execs, took)
}

// timed makes a program that runs another one and writes down when.
func (w *way) timed(b *testing.B, dir, program string) string {
	w.log = filepath.Join(dir, "log")
	check(b, os.WriteFile(w.log, nil, 0o666))
	check(b, os.Chmod(w.log, 0o666))
	file := filepath.Join(dir, "timed")
	check(b, os.WriteFile(file, fmt.Appendf(nil, `#!/bin/bash
began=$EPOCHREALTIME
%s "$@"
code=$?
echo "$began $EPOCHREALTIME" >>%s
exit $code
`, program, w.log), 0o755))
	return file
}

func (s *stage) throughCreel(b *testing.B) *way {
	w := &way{stage: s, name: "creel"}
	creel := map[string]any{"program": w.timed(b, w.directory(b), s.Dir+"/bin/creel"), "socket": s.Dir + "/run/exec.sock"}
	w.stage = s.onTheHost(b, "by-creel", creel, Options{Within: undetected(b)})
	return w
}

// directory is one that everybody can read.
func (w *way) directory(b *testing.B) string {
	dir := filepath.Join(w.Dir, "timed-"+w.name)
	check(b, os.Mkdir(dir, 0o755))
	return dir
}

func (s *stage) throughDocker(b *testing.B) *way {
	w := &way{stage: s, name: "docker"}
	daemon := dockerd.Start(b, dockerd.Options{})
	check(b, os.Chmod(daemon.Dir, 0o711))
	check(b, os.Chmod(daemon.Socket, 0o666))
	daemon.Import(bytes.NewReader(image(b)), "openclaw-sandbox:bookworm-slim")
	own := map[string]any{
		"agents":  map[string]any{"defaults": map[string]any{"sandbox": map[string]any{"backend": "docker"}}},
		"plugins": map[string]any{"entries": map[string]any{"creel": map[string]any{"enabled": false}}},
	}
	// OpenClaw looks for it where it wants.
	dir := w.directory(b)
	docker := filepath.Join(dir, "docker")
	check(b, os.WriteFile(docker, nil, 0o755))
	within := undetected(b, "--ro-bind", "/usr/bin/docker", docker)
	timed := w.timed(b, dir, docker)
	for _, path := range []string{"/usr/bin/docker", "/usr/local/bin/docker"} {
		if _, err := os.Stat(path); err == nil {
			within = slices.Insert(within, slices.Index(within, "--"), "--ro-bind", timed, path)
		}
	}
	w.stage = s.onTheHost(b, "by-docker", nil, Options{Config: own, Within: within, Env: []string{"DOCKER_HOST=unix://" + daemon.Socket}})
	return w
}

// undetected starts a program as the user of the tests, and shows it the
// directories of the host and no file beside them: in a container that is known
// by such a file OpenClaw wants the Docker daemon to know it too.
func undetected(b *testing.B, more ...string) []string {
	argv := []string{"bwrap", "--die-with-parent"}
	entries, err := os.ReadDir("/")
	check(b, err)
	for _, entry := range entries {
		path := "/" + entry.Name()
		switch entry.Type() {
		case os.ModeDir:
			argv = append(argv, "--dev-bind", path, path)
		case os.ModeSymlink:
			target, err := os.Readlink(path)
			check(b, err)
			argv = append(argv, "--symlink", target, path)
		}
	}
	user := strconv.Itoa(testrig.User)
	argv = append(argv, more...)
	return append(argv, "--", "setpriv", "--reuid", user, "--regid", user, "--groups", strconv.Itoa(nogroup), "--bounding-set=-all")
}

// image is a root file system of busybox, which the test's user may use.
func image(b *testing.B) []byte {
	path, err := exec.LookPath("busybox")
	check(b, err)
	program, err := os.ReadFile(path)
	check(b, err)
	applets, err := exec.Command(path, "--list").Output()
	check(b, err)
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	add := func(header *tar.Header, data []byte) {
		header.Size = int64(len(data))
		check(b, archive.WriteHeader(header))
		_, err := archive.Write(data)
		check(b, err)
	}
	add(&tar.Header{Name: "bin/busybox", Mode: 0o755}, program)
	for _, name := range strings.Fields(string(applets)) {
		if name != "busybox" {
			add(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
		}
	}
	add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, fmt.Appendf(nil, "root:x:0:0::/:/bin/sh\nuser:x:%d:%[1]d::/:/bin/sh\n", testrig.User))
	check(b, archive.Close())
	return out.Bytes()
}

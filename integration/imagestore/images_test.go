package imagestore

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestPulledImageIsListedNamedAndRemoved(t *testing.T) {
	r := newRig(t)
	img := image(t, "first")
	r.push(img, "tools:1")
	digest, err := img.Digest()
	check(t, err)
	pin := r.run("pull", r.host+"/tools:1").want(t, 0, "download ", "unpack layer 1 of 1").stdout
	if want := r.host + "/tools@" + digest.String(); pin != want {
		t.Errorf("printed %q, want %q", pin, want)
	}
	r.run("pull", "-q", r.host+"/tools:1").want(t, 0, pin, "here already")
	r.run("ls").want(t, 0, "NAME", r.host+"/tools:1", "5B")
	if got := r.listed(); !slices.Equal(got, []string{pin}) {
		t.Errorf("listed: %v", got)
	}
	r.run("rm", r.host+"/none:1").want(t, 1, "creel: error: there is no image", "creel: hint: `creel image ls`")
	r.run("rm", pin).want(t, 0, "removed: sha256:")
	if got := r.listed(); len(got) != 0 {
		t.Errorf("listed after its removal: %v", got)
	}
}

func TestFailureIsToldAndLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.push(image(t, strings.Repeat("text", 1000)), "tools:1")
	for _, c := range []struct{ args, told string }{
		{"pull " + r.host + "/none:1", "creel: hint: if it is there: `docker login`"},
		{"pull --max-size 1KiB " + r.host + "/tools:1", "creel: hint: if the image can be trusted, --max-size"},
		{"pull --timeout 1ns " + r.host + "/tools:1", "creel: hint: --timeout gives it more time"},
		{"pull", "pull takes one image"},
		{"pull --max-size no x", `--max-size takes a size`},
		{"pull --max-layers 0 x", "more than zero"},
		{"pull BAD", "creel: error: read image reference"},
		{"import /none", "creel: error: open archive"},
		{"import", "import takes one file"},
		{"rm", "rm takes at least one"},
		{"ls x", "ls takes no arguments"},
		{"prune x", "prune takes no arguments"},
		{"push x", "there is no command"},
	} {
		r.run(strings.Fields(c.args)...).want(t, 1, "creel: error: ", c.told)
		if left := r.drafts(); len(left) > 0 {
			t.Errorf("%s: left %v", c.args, left)
		}
	}
	if got := r.listed(); len(got) > 0 {
		t.Errorf("listed: %v", got)
	}
	r.run("pull", r.host+"/tools:1").want(t, 0) // the control
}

// TestRegistryIsVerifiedByTLS: one that a trusted authority does not vouch
// for is refused, and told of nothing.
func TestRegistryIsVerifiedByTLS(t *testing.T) {
	r := rigOf(t, httptest.NewTLSServer)
	r.push(image(t, "text"), "tools:1")
	r.run("pull", r.host+"/tools:1").want(t, 1, "certificate signed by unknown authority")
	if got := r.listed(); len(got) > 0 {
		t.Errorf("listed: %v", got)
	}
	trusted := filepath.Join(r.dir, "authority.pem")
	check(t, os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.authority.Raw}), 0o644))
	control := r.command("pull", r.host+"/tools:1")
	control.Env = append(control.Env, "SSL_CERT_FILE="+trusted)
	end(t, control).want(t, 0, r.host+"/tools@sha256:")
}

// blocked starts a pull that waits for a blob.
func (r *rig) blocked() (kill func(syscall.Signal) ran, lift func()) {
	r.t.Helper()
	b := &blockade{make(chan struct{}, 1), make(chan struct{})}
	r.block.Store(b)
	cmd := r.command("pull", r.host+"/tools:1")
	done := make(chan ran, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		done <- end(r.t, cmd)
	}()
	<-started
	<-b.reached
	return func(signal syscall.Signal) ran {
		check(r.t, cmd.Process.Signal(signal))
		return <-done
	}, func() { r.block.Store(nil); close(b.lifted) }
}

func TestKilledPullLeavesNothingThatCounts(t *testing.T) {
	r := newRig(t)
	r.push(image(t, "text"), "tools:1")
	kill, lift := r.blocked()
	kill(syscall.SIGKILL)
	lift()
	if got := r.listed(); len(got) > 0 {
		t.Errorf("listed: %v", got)
	}
	pin := r.run("pull", r.host+"/tools:1").want(t, 0).stdout
	if got := r.listed(); !slices.Equal(got, []string{pin}) {
		t.Errorf("listed: %v", got)
	}
	if left := r.drafts(); len(left) > 0 {
		t.Errorf("the next one left %v", left)
	}
}

func TestInterruptedPullLeavesNothing(t *testing.T) {
	for _, signal := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP} {
		r := newRig(t)
		r.push(image(t, "text"), "tools:1")
		kill, lift := r.blocked()
		kill(signal).want(t, 1, "creel: error: interrupted")
		lift()
		if left := r.drafts(); len(left) > 0 {
			t.Errorf("%v: left %v", signal, left)
		}
		r.run("pull", r.host+"/tools:1").want(t, 0)
	}
}

func TestSecondPullWaitsForTheFirst(t *testing.T) {
	r := newRig(t)
	r.push(image(t, "text"), "tools:1")
	kill, lift := r.blocked()
	second := r.command("pull", r.host+"/tools:1")
	stderr, err := second.StderrPipe()
	check(t, err)
	check(t, second.Start())
	notice := make([]byte, 200)
	n, err := stderr.Read(notice)
	if check(t, err); !strings.Contains(string(notice[:n]), "waiting for it") {
		t.Errorf("the second says %q", notice[:n])
	}
	kill(unix.SIGINT).want(t, 1)
	lift()
	_, err = io.Copy(io.Discard, stderr)
	check(t, err)
	check(t, second.Wait())
	if got := r.listed(); len(got) != 1 {
		t.Errorf("listed: %v", got)
	}
}

func TestPruneRemovesWhatNoPolicyNames(t *testing.T) {
	r := newRig(t)
	r.push(image(t, "kept"), "kept:1")
	r.push(image(t, "tagged"), "tagged:1")
	r.push(image(t, "gone"), "gone:1")
	kept := r.run("pull", r.host+"/kept:1").want(t, 0).stdout
	tagged := r.run("pull", r.host+"/tagged:1").want(t, 0).stdout
	gone := r.run("pull", r.host+"/gone:1").want(t, 0).stdout
	for name, ref := range map[string]string{"one": kept, "two": r.host + "/tagged:1"} {
		r.policy(name, "root: {image: '"+ref+"'}")
	}
	r.run("prune").want(t, 1, "not named by a policy: "+gone, "stdin is no terminal", "--force")
	check(t, os.WriteFile(r.dir+"/policies/bad.yaml", []byte("name: bad\n"), 0o644))
	r.run("prune", "--force").want(t, 1, "the policies have errors")
	check(t, os.Remove(r.dir+"/policies/bad.yaml"))
	if got := r.listed(); len(got) != 3 {
		t.Errorf("refused, and left %v", got)
	}
	r.run("prune", "--force").want(t, 0, "removed: sha256:", "freed: 4B")
	got := r.listed()
	slices.Sort(got)
	want := []string{kept, tagged}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	r.run("prune").want(t, 0)
}

func (r *rig) policy(name, root string) {
	r.t.Helper()
	text := fmt.Sprintf("apiVersion: creel/v1\nkind: Policy\nname: %s\njustification: tests\nowner: o@example.org\nreviewBy: 2099-01-01\n%s\nuser: \"1:1\"\ncallers: {users: [\"0\"]}\n", name, root)
	check(r.t, os.WriteFile(filepath.Join(r.dir, "policies", name+".yaml"), []byte(text), 0o644))
}

// TestTerminalShowsBarsAndAsks also answers prune's question both ways.
func TestTerminalShowsBarsAndAsks(t *testing.T) {
	r := newRig(t)
	r.push(image(t, "text"), "tools:1")
	screen := func(answer string, args ...string) string {
		t.Helper()
		cmd := r.command(args...)
		terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 100})
		check(t, err)
		defer terminal.Close()
		_, err = io.WriteString(terminal, answer)
		check(t, err)
		out, _ := io.ReadAll(terminal) // ends with EIO, pty(7)
		_ = cmd.Wait()
		return string(out)
	}
	if out := screen("", "pull", r.host+"/tools:1"); !strings.Contains(out, "[") || !strings.Contains(out, "unpack layer 1 of 1") {
		t.Errorf("no bars: %q", out)
	}
	if out := screen("n\n", "prune"); !strings.Contains(out, "[y/N]") || !strings.Contains(out, "nothing was removed") || len(r.listed()) != 1 {
		t.Errorf("answered no: %q", out)
	}
	if out := screen("y\n", "prune"); !strings.Contains(out, "freed: 4B") || len(r.listed()) != 0 {
		t.Errorf("answered yes: %q", out)
	}
}

func TestImportTakesWhatDockerSaveWrites(t *testing.T) {
	r := newRig(t)
	img := image(t, "saved")
	tag, err := name.NewTag("own/tools:1")
	check(t, err)
	file := filepath.Join(r.dir, "saved.tar")
	check(t, tarball.WriteToFile(file, tag, img))
	id, err := img.ConfigName()
	check(t, err)
	if got := r.run("import", file).want(t, 0).stdout; got != "own/tools@"+id.String() {
		t.Errorf("printed %s", got)
	}
	cmd := r.command("import", "--name", "other:2", "-")
	stdin, err := os.Open(file)
	check(t, err)
	defer stdin.Close()
	cmd.Stdin = stdin
	end(t, cmd).want(t, 0, "other@"+id.String())
	r.run("rm", "other:2").want(t, 0, "untagged: other:2")
	r.run("rm", strings.TrimPrefix(id.String(), "sha256:")[:12]).want(t, 0, "removed: "+id.String())
}

func TestOnlyRootChangesImages(t *testing.T) {
	r := newRig(t)
	bin := t.TempDir()
	check(t, os.Chmod(bin, 0o755))
	for _, dir := range []string{filepath.Dir(bin), filepath.Dir(filepath.Dir(bin))} {
		if strings.HasPrefix(filepath.Base(dir), "Test") || strings.HasPrefix(dir, os.TempDir()+"/") {
			check(t, os.Chmod(dir, 0o755))
		}
	}
	for _, program := range []string{"creel", "creel-image"} {
		data, err := os.ReadFile(filepath.Join(testrig.Binaries(t), program))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(bin, program), data, 0o755))
	}
	cmd := r.command("ls")
	cmd.Path = filepath.Join(bin, "creel")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testrig.User, Gid: testrig.User}}
	end(t, cmd).want(t, 1, "creel: error: the images are root's", "creel: hint: run it as root")
	r.run("ls").want(t, 0)
	check(t, os.Mkdir(r.store(), 0o755))
	r.run("ls").want(t, 1, "others may enter it")
}

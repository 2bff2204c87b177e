// Package redaction shows that what real tools write of a credential, in a
// real sandbox, reaches neither the caller nor the kept logs, and that the
// same tools' output of the same value given openly is not touched.
//
// Its test imports testrig and knows creel as an operator does. It never
// looks into the redactor: what it expects is what the tools wrote.
package redaction

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// values are a token, a password of all that encoders escape, and a key.
func values(t *testing.T) map[string]string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return map[string]string{
		"TOKEN":    "ghp_" + rand.Text(),
		"PASSWORD": rand.Text()[:6] + ` p@$$/w0rd'"\&<>%+~!*(é€😀)` + "\t`" + rand.Text()[:6],
		"KEY":      strings.TrimSuffix(string(text), "\n"),
	}
}

func TestNoToolsEncodingOfACredentialIsPrinted(t *testing.T) {
	given := values(t)
	r := start(t, given)
	script := writeScript(t, r)
	secret := []string{"exec", "--policy", "secret"}
	open := []string{"exec", "--policy", "open"}
	for name, value := range given {
		open = append(open, "-e", name+"="+value)
	}
	for _, way := range []struct {
		name string
		run  func(args []string) string
	}{
		{"stdout", func(args []string) string { return r.Creel(append(args, "--", "bash", script)...).Stdout }},
		{"stderr", func(args []string) string {
			return r.Creel(append(args, "--", "bash", "-c", "exec >&2; . "+script)...).Stderr
		}},
		{"terminal", func(args []string) string {
			return onTerminal(t, r.Command(append(args, "-t", "--", "bash", script)...))
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			compare(t, given, sections(way.run(open)), sections(way.run(secret)))
		})
	}
	t.Run("logs", func(t *testing.T) {
		for name, value := range given {
			got := r.Creel(append(secret, "--", "bash", "-c", `echo "${!1}"; printf %s "${!1}" | base64 -w0`, "-", name)...)
			logs := r.Creel("logs", newest(t, r)).Stdout
			if want := got.Stdout; logs != want || strings.Count(want, "[redacted:"+name+"]") != 2 || strings.Contains(logs, value) {
				t.Errorf("%s: the logs have %q, the caller got %q", name, logs, want)
			}
		}
	})
}

// TestPromptAppearsBeforeItIsAnswered has a command ask without ending the
// line, and answers once the question is there: one with a value in it, and one
// that ends as a value begins.
func TestPromptAppearsBeforeItIsAnswered(t *testing.T) {
	r := start(t, values(t))
	for _, way := range [][]string{{"-i"}, {"-i", "-t"}} {
		for question, shown := range map[string]string{"Go on, $TOKEN? ": "Go on, [redacted:TOKEN]? ", "Go on? ${TOKEN:0:1}": "Go on? g"} {
			t.Run(strings.Join(way, " ")+" "+question, func(t *testing.T) {
				args := append([]string{"exec", "--policy", "secret"}, way...)
				answer(t, r.Command(append(args, "--", "bash", "-c", `printf %s "`+question+`"; read answer; echo "it was $answer"`)...), shown)
			})
		}
	}
}

// answer runs a command on a terminal and answers it once that shows a question
// at its end.
func answer(t *testing.T, cmd *exec.Cmd, question string) {
	t.Helper()
	terminal, err := pty.Start(cmd)
	check(t, err)
	defer terminal.Close()
	var out bytes.Buffer
	answered := false
	_, _ = io.Copy(writer(func(p []byte) (int, error) { // ends with EIO when the client does (pty(7))
		out.Write(p)
		if !answered && strings.HasSuffix(out.String(), question) {
			answered = true
			_, err := terminal.Write([]byte("yes\n"))
			return len(p), err
		}
		return len(p), nil
	}), terminal)
	check(t, cmd.Wait())
	if !answered || !strings.Contains(out.String(), "it was yes") {
		t.Errorf("the terminal shows %q", out.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// start starts a supervisor with a policy that has the values as credentials,
// and one that has none.
func start(t *testing.T, given map[string]string) *testrig.Rig {
	t.Helper()
	dir := t.TempDir()
	policy := "logs: {keep: 64KiB}\ncredentials:\n"
	for name, value := range given {
		check(t, os.WriteFile(dir+"/"+name, []byte(value), 0o400))
		policy += fmt.Sprintf("  - {env: %s, from: \"systemd:%s\"}\n", name, name)
	}
	r := testrig.Start(t, testrig.Options{Env: []string{"CREDENTIALS_DIRECTORY=" + dir}})
	r.WritePolicy("secret", r.PolicyText("secret", policy))
	r.WritePolicy("open", r.PolicyText("open", "logs: {keep: 64KiB}"))
	r.Reload()
	return r
}

// writeScript writes one that has every tool write every value, each between
// lines that say which.
func writeScript(t *testing.T, r *testrig.Rig) string {
	t.Helper()
	var script strings.Builder
	for number, tool := range tools {
		for _, name := range []string{"TOKEN", "PASSWORD", "KEY"} {
			if tool.only == "" || tool.only == name {
				fmt.Fprintf(&script, "echo; echo '<%d %s>'; V=%s\n%s\necho; echo '</>'\n", number, name, name, tool.script)
			}
		}
	}
	check(t, os.WriteFile(r.Workspace+"/script", []byte(script.String()), 0o644))
	return "/workspace/script"
}

// section is what one tool wrote of one value.
type section struct {
	tool   string // its number
	name   string
	output string
}

func sections(output string) (all []section) {
	output = regexp.MustCompile(`\r+\n`).ReplaceAllString(output, "\n")
	for _, found := range regexp.MustCompile(`(?s)\n<(\d+) ([A-Z]+)>\n(.*?)\n</>`).FindAllStringSubmatch(output, -1) {
		all = append(all, section{found[1], found[2], found[3]})
	}
	return all
}

// compare looks for the control, the value written openly, and at what is
// left of it when it is a credential.
func compare(t *testing.T, given map[string]string, open, secret []section) {
	t.Helper()
	if len(open) < 3*len(tools)-6 || len(secret) != len(open) {
		t.Fatalf("%d tools wrote %d values openly, and %d credentials", len(tools), len(open), len(secret))
	}
	for i, got := range secret {
		var number int
		_, err := fmt.Sscan(got.tool, &number)
		check(t, err)
		tool := tools[number]
		if least := min(len(given[got.name]), 64); len(open[i].output) < least || strings.Contains(open[i].output, "[redacted") {
			t.Errorf("control: %s writes %s as %q, which cannot be all of it", tool.name, got.name, open[i].output)
		}
		mark := "[redacted:" + got.name + "]"
		rest := strings.ReplaceAll(got.output, mark, "")
		if !strings.Contains(got.output, mark) || !regexp.MustCompile(`^(`+tool.rest+`)\s*$`).MatchString(rest) {
			t.Errorf("%s writes %s as %q; beside marks it may leave %q", tool.name, got.name, got.output, tool.rest)
		}
	}
}

// onTerminal runs a command on a terminal and returns what that shows.
func onTerminal(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	terminal, err := pty.Start(cmd)
	check(t, err)
	defer terminal.Close()
	var out bytes.Buffer
	_, _ = io.Copy(&out, terminal) // ends with EIO when the client does (pty(7))
	check(t, cmd.Wait())
	return out.String()
}

// newest is the ID of the sandbox that was made last.
func newest(t *testing.T, r *testrig.Rig) string {
	t.Helper()
	rows := r.List("-a")
	if len(rows) == 0 {
		t.Fatal("ps shows nothing")
	}
	return rows[0].ID
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// completed is what bash itself offers for a line, through the script that
// creel prints.
func (r *rig) completed(t *testing.T, line string) string {
	t.Helper()
	got := r.sh(t, `source <(creel completion bash)
complete -p creel >/dev/null || exit 1
COMP_LINE='`+line+`'; COMP_POINT=${#COMP_LINE}
_creel creel
printf '%s\n' "${COMPREPLY[@]}"`)
	got.want(t, 0)
	return strings.Join(strings.Fields(got.stdout), " ")
}

func TestBashCompletes(t *testing.T) {
	r := newRig(t)
	r.running(t, "exec", "--", "sh", "-c", "echo; exec sleep 1000")
	for line, want := range map[string]string{
		"creel ":                           "agent completion credential doctor exec image inspect kill logs policy ps reload secret stats token version",
		"creel p":                          "policy ps",
		"creel policy ":                    "check explain show",
		"creel exec --p":                   "--policy",
		"creel exec --res":                 "--result --result-fd",
		"creel exec --policy ":             "exec-build exec-default",
		"creel exec --policy exec-b":       "exec-build",
		"creel exec -i --timeout 5s --ses": "--session",
		"creel exec -- ":                   "",
		"creel exec -- ls --p":             "",
		"creel exec ls --p":                "",
		"creel kill ":                      "000000000001",
		"creel kill -s USR":                "USR1 USR2",
		"creel kill -s TERM 0":             "000000000001",
		"creel inspect 0":                  "000000000001",
		"creel logs 1":                     "",
		"creel completion ":                "bash fish zsh",
		"A=b creel ps --j":                 "--json",
		"creel nope ":                      "agent completion credential doctor exec image inspect kill logs policy ps reload secret stats token version",
	} {
		if got := r.completed(t, line); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

// Real shells, at their prompts, with the Tab key pressed.
func TestTabCompletesAtAPrompt(t *testing.T) {
	for _, shell := range []struct {
		command []string
		setup   string
	}{
		{[]string{"/bin/bash", "--norc", "--noprofile", "-i"}, "source <(creel completion bash)"},
		{[]string{"/bin/zsh", "-f", "-i"}, "autoload -Uz compinit; compinit -u -D; source <(creel completion zsh)"},
	} {
		t.Run(filepath.Base(shell.command[0]), func(t *testing.T) {
			at := &rig{env: []string{"PATH=" + filepath.Dir(binary) + ":/usr/bin:/bin", "PS1=> ", "TERM=vt100", "HOME=/nonexistent"}}
			o := at.program(t, shell.command[0], shell.command[1:]...)
			o.until(t, "> ")
			o.master.WriteString(shell.setup + "; echo sour\"\"ced\r")
			o.until(t, "sourced\r\n")
			o.master.WriteString("creel vers\t --cli\t\r")
			o.until(t, "creel    dev\r\n")
			o.master.WriteString("exit 0\r")
			o.command.Wait()
		})
	}
}

// Fish says itself what it would offer for a line.
func TestFishCompletes(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"creel p":          "policy ps",
		"creel policy ":    "check explain show",
		"creel exec --res": "--result --result-fd",
		"creel policy check " + file[:len(file)-1]: file,
		"creel exec -- ls " + file[:len(file)-1]:   file,
	} {
		fish := exec.CommandContext(t.Context(), "/usr/bin/fish", "--no-config", "-c", "creel completion fish | source; complete -C $argv[1]", line)
		fish.Env = []string{"PATH=" + filepath.Dir(binary) + ":/usr/bin:/bin", "HOME=" + home}
		got := end(t, fish)
		got.want(t, 0)
		if offered := strings.Join(strings.Fields(got.stdout), " "); offered != want {
			t.Errorf("%q became %q, want %q", line, offered, want)
		}
	}
}

func TestScriptsOfOtherShellsArePrinted(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := offline.run(t, "completion", shell); got.code != 0 || !strings.Contains(got.stdout, "__complete --") {
			t.Errorf("%s: %+v", shell, got)
		}
	}
	offline.run(t, "completion", "tcsh").want(t, 125, "one of bash, zsh, fish")
	offline.run(t, "completion").want(t, 125, "one of bash, zsh, fish")
}

func TestCompletionWithoutASupervisorIsSilent(t *testing.T) {
	got := offline.run(t, "__complete", "--", "kill", "")
	got.want(t, 0)
	if got.stdout != "" {
		t.Errorf("candidates %q", got.stdout)
	}
}

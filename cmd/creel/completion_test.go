package main

import (
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
		"creel ":                           "completion doctor exec inspect kill logs policy ps stats version",
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
		"creel nope ":                      "completion doctor exec inspect kill logs policy ps stats version",
	} {
		if got := r.completed(t, line); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

// A real bash, at its prompt, with the Tab key pressed.
func TestTabCompletesAtAPrompt(t *testing.T) {
	shell := &rig{env: []string{"PATH=" + filepath.Dir(binary) + ":/usr/bin:/bin", "PS1=> ", "TERM=vt100", "HOME=/nonexistent"}}
	o := shell.program(t, "/bin/bash", "--norc", "--noprofile", "-i")
	o.until(t, "> ")
	o.master.WriteString("source <(creel completion bash); echo sour\"\"ced\r")
	o.until(t, "sourced\r\n")
	o.master.WriteString("creel vers\t --cli\t\r")
	o.until(t, "creel    dev\r\n")
	o.master.WriteString("exit 0\r")
	o.command.Wait()
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

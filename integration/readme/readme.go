// Package readme runs what README.md prints: every command of its shell
// blocks, as printed, and the policy it explains.
//
// It imports policy and testrig, and never anything of runner. Other tests take
// from here what they run of README as printed.
package readme

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// root is the project's directory.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "../..")
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks gives the contents of README's fenced blocks of one language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(read(t, "README.md"), -1) {
		found = append(found, match[1])
	}
	if len(found) == 0 {
		t.Fatalf("README.md has no %s block", language)
	}
	return found
}

// Commands gives README's first block of shell commands that has a text in it.
func Commands(t *testing.T, with string) string {
	t.Helper()
	for _, block := range blocks(t, "sh") {
		if strings.Contains(block, with) {
			return block
		}
	}
	t.Fatalf("README.md has no commands with %s", with)
	return ""
}

package architecture

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Promises is how many the README makes.
const Promises = 10

// notTested is what a row says when no test proves it.
const notTested = "not yet tested"

var (
	promiseRow = regexp.MustCompile(`^\|\s*(\d+)\s*\|`)
	testName   = regexp.MustCompile(`\bTest[A-Z]\w*`)
	testLink   = regexp.MustCompile("\\[`?(Test[A-Z]\\w*)`?\\]\\(([^)#]+)[^)]*\\)")
)

// CheckPromises reads the README's table of promises, whose rows begin with
// "| N |", and finds promises without a row, rows that name neither a test
// nor "not yet tested", tests that do not exist, and links to a file that
// does not hold the test.
func CheckPromises(tree *Tree, readme string) ([]Finding, error) {
	data, err := os.ReadFile(filepath.Join(tree.Root, readme))
	if err != nil {
		return nil, fmt.Errorf("read table of promises: %w", err)
	}
	tests := tree.tests()
	seen := map[int]bool{}
	var findings []Finding
	for i, line := range strings.Split(string(data), "\n") {
		match := promiseRow.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		number, _ := strconv.Atoi(match[1]) // digits, by the expression
		for _, message := range rowProblems(line, number, seen[number], tests) {
			findings = append(findings, Finding{readme, i + 1, message})
		}
		seen[number] = true
	}
	for number := 1; number <= Promises; number++ {
		if !seen[number] {
			findings = append(findings, Finding{readme, 0, fmt.Sprintf("promise %d has no row", number)})
		}
	}
	return findings, nil
}

// rowProblems checks one row; tests maps a test's name to the files with it.
func rowProblems(line string, number int, again bool, tests map[string][]string) []string {
	var problems []string
	if number < 1 || number > Promises {
		problems = append(problems, fmt.Sprintf("promise %d is not one of 1 to %d", number, Promises))
	}
	if again {
		problems = append(problems, fmt.Sprintf("promise %d has a second row", number))
	}
	names := testName.FindAllString(line, -1)
	if len(names) == 0 && !strings.Contains(line, notTested) {
		problems = append(problems, fmt.Sprintf("promise %d names no test, and does not say %q", number, notTested))
	}
	for _, name := range names {
		if len(tests[name]) == 0 {
			problems = append(problems, fmt.Sprintf("promise %d names %s, which does not exist", number, name))
		}
	}
	for _, link := range testLink.FindAllStringSubmatch(line, -1) {
		if !contains(tests[link[1]], link[2]) {
			problems = append(problems, fmt.Sprintf("promise %d links %s to %s, which does not hold it", number, link[1], link[2]))
		}
	}
	return problems
}

// contains accepts a link to a test's file or to its directory.
func contains(files []string, link string) bool {
	for _, file := range files {
		if under(file, strings.TrimSuffix(strings.TrimPrefix(link, "./"), "/")) {
			return true
		}
	}
	return false
}

// tests maps the name of every test function to the files that declare one.
func (t *Tree) tests() map[string][]string {
	tests := map[string][]string{}
	for _, file := range t.Files {
		for _, declaration := range file.AST.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if ok && file.Test && function.Recv == nil && testName.MatchString(function.Name.Name) {
				tests[function.Name.Name] = append(tests[function.Name.Name], file.Path)
			}
		}
	}
	return tests
}

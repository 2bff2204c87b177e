package architecture

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// CheckSizes finds files and functions that are too long, and exceptions that
// nothing needs any more.
func CheckSizes(tree *Tree, exceptions []Exception) []Finding {
	var findings []Finding
	needed := map[string]bool{}
	allowed := map[string]bool{}
	for _, exception := range exceptions {
		allowed[exception.Where] = true
	}
	for _, file := range tree.Files {
		if ast.IsGenerated(file.AST) {
			continue
		}
		if file.Lines > MaxFile {
			needed[file.Path] = true
			if !allowed[file.Path] {
				findings = append(findings, Finding{file.Path, 1, fmt.Sprintf("file of %d lines, of at most %d", file.Lines, MaxFile)})
			}
		}
		for _, declaration := range file.AST.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines, limit := tree.functionLines(file, function), functionLimit(file, function)
			if where := file.Path + ":" + function.Name.Name; lines > limit {
				needed[where] = true
				if !allowed[where] {
					findings = append(findings, tree.finding(file, function.Pos(), "function %s of %d lines, of at most %d", function.Name.Name, lines, limit))
				}
			}
		}
	}
	for _, where := range slices.Sorted(maps.Keys(allowed)) {
		if !needed[where] {
			findings = append(findings, Finding{File: where, Message: "exception that nothing needs any more"})
		}
	}
	return findings
}

func functionLimit(file *File, function *ast.FuncDecl) int {
	if function.Recv == nil && function.Name.Name == "main" && file.AST.Name.Name == "main" {
		return MaxMain
	}
	return MaxFunction
}

// functionLines counts a function's lines. In tests the cases of a table do
// not count, but for the functions of several lines among them.
func (t *Tree) functionLines(file *File, function *ast.FuncDecl) int {
	lines := t.lines(function)
	if !file.Test {
		return lines
	}
	ast.Inspect(function, func(node ast.Node) bool {
		literal, ok := node.(*ast.CompositeLit)
		if ok {
			lines -= t.lines(literal) - 1 - t.codeLines(literal)
		}
		return !ok
	})
	return lines
}

// codeLines counts the lines of the functions in a literal.
func (t *Tree) codeLines(literal *ast.CompositeLit) int {
	lines := 0
	ast.Inspect(literal, func(node ast.Node) bool {
		function, ok := node.(*ast.FuncLit)
		if ok && t.lines(function) > 1 {
			lines += t.lines(function)
		}
		return !ok
	})
	return lines
}

func (t *Tree) lines(node ast.Node) int {
	return t.set.Position(node.End()).Line - t.set.Position(node.Pos()).Line + 1
}

// CheckComments finds packages without exactly one comment, and comments that
// leave out what the package may import or what it never does.
func CheckComments(tree *Tree) []Finding {
	packages := map[string][]*File{}
	for _, file := range tree.Files {
		// A package that only has tests is described in one of them.
		if !strings.HasSuffix(file.AST.Name.Name, "_test") {
			packages[file.Dir] = append(packages[file.Dir], file)
		}
	}
	var findings []Finding
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		var described []*File
		for _, file := range packages[dir] {
			if file.AST.Doc != nil && strings.TrimSpace(file.AST.Doc.Text()) != "" {
				described = append(described, file)
			}
		}
		if len(described) == 0 {
			findings = append(findings, Finding{packages[dir][0].Path, 0, "package without a comment: what it does, may import, and never does"})
			continue
		}
		for _, file := range described[1:] {
			findings = append(findings, tree.finding(file, file.AST.Doc.Pos(), "second package comment (the first is in %s)", described[0].Path))
		}
		findings = append(findings, tree.checkComment(described[0])...)
	}
	return findings
}

func (t *Tree) checkComment(file *File) []Finding {
	text := file.AST.Doc.Text()
	var findings []Finding
	begin := "Package " + file.AST.Name.Name + " "
	if file.AST.Name.Name == "main" {
		begin = "Command " + path.Base(file.Dir) + " "
	}
	if !strings.HasPrefix(text, begin) {
		findings = append(findings, t.finding(file, file.AST.Doc.Pos(), "package comment does not begin with %q", begin))
	}
	for _, word := range []string{"import", "never"} {
		if !strings.Contains(text, word) {
			findings = append(findings, t.finding(file, file.AST.Doc.Pos(),
				"package comment without the word %q: it says what the package does, may import, and never does", word))
		}
	}
	return findings
}

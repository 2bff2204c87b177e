package architecture

import (
	"fmt"
	"go/ast"
	"strings"
)

// CheckImports finds imports that a rule refuses, and dot imports, which
// would hide a call from the other checks.
func CheckImports(tree *Tree, bans []ImportBan) []Finding {
	var findings []Finding
	for _, file := range tree.Files {
		for _, spec := range file.AST.Imports {
			imported := importPath(spec)
			if spec.Name != nil && spec.Name.Name == "." {
				findings = append(findings, tree.finding(file, spec.Pos(), "dot import of %s hides where a name is from", imported))
			}
			for _, ban := range bans {
				if !file.Test && underAny(file.Dir, ban.From) && !excepted(file.Path, ban.Except) &&
					refused(imported, ban.Not, ban.Only) {
					findings = append(findings, tree.finding(file, spec.Pos(), "%s imports %s: %s", file.Dir, imported, ban.Reason))
				}
			}
		}
	}
	return findings
}

// refused says whether an import path is in not, or missing from an only that
// is not empty.
func refused(imported string, not, only []string) bool {
	for _, prefix := range not {
		if under(imported, prefix) {
			return true
		}
	}
	for _, prefix := range only {
		if under(imported, prefix) || prefix == std && isStandard(imported) {
			return false
		}
	}
	return len(only) > 0
}

// isStandard: import paths with a dot in the first element have a host in
// them (go help importpath).
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// CheckCalls finds uses of banned functions (taking one as a value counts).
func CheckCalls(tree *Tree, bans []CallBan) []Finding {
	var findings []Finding
	for _, file := range tree.Files {
		if file.Test {
			continue
		}
		for _, ban := range bans {
			if !underAny(file.Dir, ban.From) || excepted(file.Path, ban.Except) {
				continue
			}
			for _, use := range uses(file, ban.Calls) {
				findings = append(findings, tree.finding(file, use.Pos(), "%s in %s: %s", name(file, use), file.Dir, ban.Reason))
			}
		}
	}
	return findings
}

// uses lists the selectors in a file that name one of the functions.
func uses(file *File, names []string) []*ast.SelectorExpr {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var found []*ast.SelectorExpr
	ast.Inspect(file.AST, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok && wanted[name(file, selector)] {
			found = append(found, selector)
		}
		return true
	})
	return found
}

// name is PATH.Name of a selector on a package, and "" for any other.
func name(file *File, selector *ast.SelectorExpr) string {
	identifier, ok := selector.X.(*ast.Ident)
	if !ok || file.imports[identifier.Name] == "" {
		return ""
	}
	return fmt.Sprintf("%s.%s", file.imports[identifier.Name], selector.Sel.Name)
}

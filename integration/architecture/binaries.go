package architecture

import (
	"context"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path"
	"strings"
)

// CheckBinaries asks the go tool what each binary links, built without cgo,
// and finds what its rules refuse.
func CheckBinaries(ctx context.Context, root string, rules []BinaryRule) ([]Finding, error) {
	var findings []Finding
	for _, rule := range rules {
		linked, err := dependencies(ctx, root, rule.Package)
		if err != nil {
			return nil, fmt.Errorf("list what %s links: %w", rule.Package, err)
		}
		for _, imported := range linked {
			if refused(imported, rule.Not, rule.Only) {
				findings = append(findings, Finding{
					File:    strings.TrimPrefix(rule.Package, Module+"/"),
					Message: fmt.Sprintf("links %s: %s", imported, rule.Reason),
				})
			}
		}
	}
	return findings, nil
}

// dependencies lists the import paths a package links. The standard library's
// own vendored packages have a host in their path, and are still its own.
func dependencies(ctx context.Context, root, pkg string) ([]string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{if .Standard}}std/{{end}}{{.ImportPath}}", pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run go list: %w: %s", err, stderr.String())
	}
	linked := strings.Fields(string(out))
	for i := range linked {
		linked[i] = strings.TrimPrefix(strings.TrimPrefix(linked[i], "std/vendor/golang.org/"), "std/")
	}
	return linked, nil
}

// CheckExits finds the second and further place a binary ends itself.
func CheckExits(tree *Tree) []Finding {
	var findings []Finding
	first := map[string]bool{}
	for _, file := range tree.Files {
		if file.Test || path.Dir(file.Dir) != "cmd" {
			continue
		}
		for _, use := range uses(file, exitCalls) {
			if first[file.Dir] {
				findings = append(findings, tree.finding(file, use.Pos(),
					"%s: %s ends itself in more than one place, and an undo may not have run", name(file, use), file.Dir))
			}
			first[file.Dir] = true
		}
	}
	return findings
}

// appFields are what urfave/cli v2 does behind the back of its user unless
// told otherwise: it calls os.Exit itself, and splits a value at its commas.
var appFields = []string{"ExitErrHandler", "DisableSliceFlagSeparator"}

// CheckApps finds a cli.App that lacks one of appFields.
func CheckApps(tree *Tree) []Finding {
	var findings []Finding
	for _, file := range tree.Files {
		if file.Test {
			continue
		}
		ast.Inspect(file.AST, func(node ast.Node) bool {
			literal, ok := node.(*ast.CompositeLit)
			if !ok {
				return true
			}
			selector, ok := literal.Type.(*ast.SelectorExpr)
			if !ok || name(file, selector) != "github.com/urfave/cli/v2.App" {
				return true
			}
			for _, field := range appFields {
				if !hasField(literal, field) {
					findings = append(findings, tree.finding(file, literal.Pos(), "cli.App without %s", field))
				}
			}
			return true
		})
	}
	return findings
}

func hasField(literal *ast.CompositeLit, field string) bool {
	for _, element := range literal.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && key.Name == field {
				return true
			}
		}
	}
	return false
}

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// harmlessCalls are all that may be called between clone(2) and execve(2), besides
// functions that are held to the same.
var harmlessCalls = []string{
	"unix.RawSyscall", "unix.RawSyscall6", // no entry into the Go scheduler
	"uintptr", "uint32", "int", "len", "unsafe.Pointer", "unsafe.Sizeof", "unsafe.SliceData", // no calls when compiled
}

// A forked child has one thread of the Go runtime's many: whatever waits for
// another one, waits for ever.
func TestForkedChildMakesSystemCallsAlone(t *testing.T) {
	held := map[string]*ast.FuncDecl{}
	for _, name := range []string{"child.go", "become.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		must(t, err)
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && marked(f, "//go:nosplit") && marked(f, "//go:norace") {
				held[f.Name.Name] = f
			}
		}
	}
	if len(held) != 6 || held["clone"] == nil || held["become"] == nil {
		t.Fatalf("%d functions are held to it, want 6", len(held))
	}
	for name, f := range held {
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				callee := types.ExprString(n.Fun)
				if held[strings.TrimPrefix(callee, "l.")] == nil && !slices.Contains(harmlessCalls, callee) {
					t.Errorf("%s calls %s", name, callee)
				}
			case *ast.FuncLit, *ast.GoStmt, *ast.DeferStmt, *ast.SendStmt:
				t.Errorf("%s: %T", name, n)
			}
			return true
		})
	}
}

func marked(f *ast.FuncDecl, pragma string) bool {
	return f.Doc != nil && slices.ContainsFunc(f.Doc.List, func(c *ast.Comment) bool { return c.Text == pragma })
}

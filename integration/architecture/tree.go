// Package architecture holds the rules that the shape of this repository
// obeys (which way imports point, what each binary may link, how large a file
// may grow, where a process may be started) and checks the source against
// them. Every rule carries its reason, and every check has a sample under
// testdata that it must catch.
//
// It may import the standard library only. It reads source and never runs it.
package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Module is the import path of the repository.
const Module = "github.com/creel-sandbox/creel"

// Finding is one place that breaks a rule.
type Finding struct {
	File    string // relative to the root, with slashes
	Line    int    // from 1; zero when the whole file or package is meant
	Message string // what is wrong, and the rule's reason
}

// String formats a finding the way compilers do.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Message)
}

// File is one parsed Go file.
type File struct {
	Path  string // relative to the root, with slashes
	Dir   string // its directory; "." at the root
	Test  bool   // its name ends in _test.go
	Lines int
	AST   *ast.File
	// imports maps the name a package has in this file to its path.
	imports map[string]string
}

// Tree is the source of a repository.
type Tree struct {
	Root  string
	Files []*File
	set   *token.FileSet
}

// Load parses every Go file under root, leaving out hidden directories,
// testdata, and nested modules, which are not linked into anything of ours.
func Load(root string) (*Tree, error) {
	tree := &Tree{Root: root, set: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipDir(root, name, entry.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := tree.parse(name)
		if err != nil {
			return err
		}
		tree.Files = append(tree.Files, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load source: %w", err)
	}
	return tree, nil
}

func skipDir(root, name, base string) error {
	if name == root {
		return nil
	}
	if strings.HasPrefix(base, ".") || base == "testdata" || base == "node_modules" {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func (t *Tree) parse(name string) (*File, error) {
	parsed, err := parser.ParseFile(t.set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	relative, err := filepath.Rel(t.Root, name)
	if err != nil {
		return nil, err
	}
	file := &File{
		Path:    filepath.ToSlash(relative),
		Test:    strings.HasSuffix(name, "_test.go"),
		Lines:   t.set.File(parsed.FileStart).LineCount(),
		AST:     parsed,
		imports: map[string]string{},
	}
	file.Dir = path.Dir(file.Path)
	for _, spec := range parsed.Imports {
		imported := importPath(spec)
		file.imports[localName(spec, imported)] = imported
	}
	return file, nil
}

// importPath cannot fail: the parser has accepted the literal.
func importPath(spec *ast.ImportSpec) string {
	imported, _ := strconv.Unquote(spec.Path.Value)
	return imported
}

// localName guesses, as the go tool does, that a package is called by the
// last element of its path that is not a major version.
func localName(spec *ast.ImportSpec, imported string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	base := path.Base(imported)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(imported))
	}
	return base
}

func (t *Tree) finding(file *File, pos token.Pos, format string, args ...any) Finding {
	return Finding{File: file.Path, Line: t.set.Position(pos).Line, Message: fmt.Sprintf(format, args...)}
}

// under says whether a directory or import path is prefix or lies in it.
func under(name, prefix string) bool {
	return name == prefix || strings.HasPrefix(name, prefix+"/")
}

// underAny says whether name lies in one of the prefixes; no prefix means
// everywhere.
func underAny(name string, prefixes []string) bool {
	for _, prefix := range prefixes {
		if under(name, prefix) {
			return true
		}
	}
	return len(prefixes) == 0
}

// excepted says whether an exception names the file or a directory above it.
func excepted(file string, exceptions []Exception) bool {
	for _, exception := range exceptions {
		if under(file, exception.Where) {
			return true
		}
	}
	return false
}

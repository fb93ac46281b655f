package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratorsAreNotShared: a generator of rapid v1.3.0 writes its name when it is first
// asked for it and reads it without a lock with each draw, so that tests which run side by
// side race over one that is a variable of the package. A function makes one for each test.
func TestGeneratorsAreNotShared(t *testing.T) {
	t.Parallel()
	seen := 0
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		seen++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			ast.Inspect(group, func(n ast.Node) bool {
				if name, ok := n.(*ast.Ident); ok && name.Name == "rapid" {
					t.Errorf("%s: make it a function", fset.Position(name.Pos()))
				}
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Fatal("no tests found")
	}
}

// Package reasons reads from the source which reasons there are, so that a test can hold
// a table against all of them. It is for tests alone.
package reasons

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// OfHub are the reasons that internal/hub declares in a file, given from the directory of
// the test.
func OfHub(t testing.TB, file string) (found []hub.Reason) {
	t.Helper()
	for _, reason := range declared(t, file) {
		found = append(found, hub.Reason(reason))
	}
	return found
}

// declared are the values of the constants in a file whose names begin with Reason.
func declared(t testing.TB, file string) (found []string) {
	t.Helper()
	source, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(source, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "Reason") {
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is not spelt out", spec.Names[0].Name)
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, value)
		}
		return true
	})
	if len(found) == 0 {
		t.Fatalf("%s declares no reasons", file)
	}
	return found
}

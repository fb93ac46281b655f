// Package docs_test holds the hand-written pages against the code.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root   = "../.."
	module = "github.com/devicetwin-io/devicetwin-operator/"
)

// firstCells are the backquoted first cells of the tables in a page.
func firstCells(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		out = append(out, match[1])
	}
	slices.Sort(out)
	return out
}

func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	list := exec.Command("go", "list", "./...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var packages []string
	for _, path := range strings.Fields(string(out)) {
		packages = append(packages, strings.TrimPrefix(path, module))
	}
	slices.Sort(packages)
	if diff := cmp.Diff(packages, firstCells(t, "architecture.md")); diff != "" {
		t.Errorf("packages of the module and rows of docs/architecture.md (-packages +rows):\n%s", diff)
	}
}

// testNames are the tests and fuzz targets of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range declared.FindAllStringSubmatch(string(text), -1) {
			names[match[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEveryRuleOfTheEmulatorNamesItsTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(root + "/docs/emulator.md")
	if err != nil {
		t.Fatal(err)
	}
	known, named := testNames(t), regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`)
	rows := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| rule |") {
			continue
		}
		rows++
		tests := named.FindAllString(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test is named: %s", line)
		}
		for _, test := range tests {
			if !known[test] {
				t.Errorf("%s does not exist: %s", test, line)
			}
		}
	}
	if rows == 0 {
		t.Error("no rows found")
	}
}

func TestEveryConditionAndReasonIsDocumented(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), root+"/api/v1alpha1/conditions.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s is not a string literal", spec.Names[0])
			}
			declared = append(declared, strings.Trim(literal.Value, `"`))
		}
		return true
	})
	slices.Sort(declared)
	if diff := cmp.Diff(declared, firstCells(t, "conditions.md")); diff != "" {
		t.Errorf("constants of conditions.go and rows of docs/conditions.md (-constants +rows):\n%s", diff)
	}
}

package docs_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// imports are the packages of the operator, with those that each of them imports. The API is
// left out, as nearly all import it.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	list := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./cmd/manager", "./controllers", "./internal/...")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		name, imported, _ := strings.Cut(strings.TrimSpace(line), " ")
		name = strings.TrimPrefix(name, module)
		if strings.HasPrefix(name, "internal/testenv") {
			continue
		}
		found[name] = nil
		for _, other := range strings.Fields(imported) {
			if other, ours := strings.CutPrefix(other, module); ours && !strings.HasPrefix(other, "api/") {
				found[name] = append(found[name], other)
			}
		}
	}
	return found
}

// leads reports whether a package imports another one through others.
func leads(imports map[string][]string, from, to string) bool {
	return slices.ContainsFunc(imports[from], func(next string) bool {
		return next != to && (slices.Contains(imports[next], to) || leads(imports, next, to))
	})
}

// TestTheDiagramShowsTheImports: each one that does not follow from others.
func TestTheDiagramShowsTheImports(t *testing.T) {
	t.Parallel()
	all := imports(t)
	var want []string
	for name, imported := range all {
		for _, other := range imported {
			if !leads(all, name, other) {
				want = append(want, name+" --> "+other)
			}
		}
	}
	text, err := os.ReadFile(root + "/docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	diagram := regexp.MustCompile("(?s)```mermaid\n(.*?)```").FindStringSubmatch(string(text))
	if diagram == nil {
		t.Fatal("docs/architecture.md has no diagram")
	}
	shown := regexp.MustCompile(`(?m)^ +(\S+) --> (\S+)$`).FindAllStringSubmatch(diagram[1], -1)
	var got []string
	for _, arrow := range shown {
		got = append(got, arrow[1]+" --> "+arrow[2])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("imports and arrows of docs/architecture.md (-imports +arrows):\n%s", diff)
	}
}

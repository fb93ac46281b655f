package crash_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

const module = "github.com/devicetwin-io/devicetwin-operator/"

// writers are the packages that decide on writes; TestNoOtherPackageWrites holds that there
// are no others.
var writers = []string{"controllers", "credentials", "outcome", "registration", "revisions", "setsync", "twinsync"}

// elsewhere are functions of them with writes that are not about a
// DeviceTwin, and so not in the matrix.
var elsewhere = map[string]string{
	"assertion":        "asks the API server for a token: nothing is kept of it",
	"expire":           "deletes a TwinRequest whose time is over, by its UID",
	"mayCreateSecrets": "asks the API server for a right: nothing is kept of it",
}

// senders are the calls that write, by the functions whose names the matrix has
// for them: to the API server the caller, to the hub the call itself.
var senders = []string{"Create", "Update", "Patch", "Delete", "DeleteAllOf", "Apply", "CreateToken", "PatchTwin", "CreateIdentity", "UpdateIdentity", "DeleteIdentity"}

// writeSites are the names of all writes that the sources of packages have.
func writeSites(t *testing.T, patterns ...string) []string {
	t.Helper()
	g := NewWithT(t)
	var sites []string
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(files).NotTo(BeEmpty(), pattern)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				sites = append(sites, sitesOf(t, file)...)
			}
		}
	}
	slices.Sort(sites)
	return slices.Compact(sites)
}

func sitesOf(t *testing.T, file string) (sites []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	for _, declaration := range parsed.Decls {
		if function, isFunction := declaration.(*ast.FuncDecl); isFunction {
			sites = append(sites, sitesIn(function)...)
		}
	}
	return sites
}

// sources are those of packages.
func sources(packages ...string) (patterns []string) {
	for _, name := range packages {
		if name != "controllers" {
			name = "internal/" + name
		}
		patterns = append(patterns, "../../"+name+"/*.go")
	}
	return patterns
}

// TestNoOtherPackageWrites: what is not in writers is not in the matrix. The Lease of the
// election is no object of ours, and what checks an installation is another program.
func TestNoOtherPackageWrites(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	found, err := filepath.Glob("../../internal/*")
	g.Expect(err).NotTo(HaveOccurred())
	var others []string
	for _, dir := range found {
		if name := filepath.Base(dir); name != "testenv" && name != "lease" && name != "installcheck" && !slices.Contains(writers, name) {
			others = append(others, name)
		}
	}
	g.Expect(writeSites(t, sources(others...)...)).To(BeEmpty())
	g.Expect(writeSites(t, sources(writers...)...)).To(ContainElements("WriteAhead", "Write", "PatchTwin", "createSecret", "Keep", "Prune"))
}

func sitesIn(function *ast.FuncDecl) []string {
	var sites []string
	ast.Inspect(function, func(n ast.Node) bool {
		call, isCall := n.(*ast.CallExpr)
		if !isCall {
			return true
		}
		selected, isMethod := call.Fun.(*ast.SelectorExpr)
		if !isMethod || !slices.Contains(senders, selected.Sel.Name) || !takesContext(call) {
			return true
		}
		switch name := selected.Sel.Name; name {
		case "PatchTwin", "CreateIdentity", "UpdateIdentity", "DeleteIdentity":
			sites = append(sites, name)
		default:
			sites = append(sites, function.Name.Name)
		}
		return true
	})
	return sites
}

// takesContext tells calls that may leave the process from those that just
// happen to have the name of one.
func takesContext(call *ast.CallExpr) bool {
	if len(call.Args) == 0 {
		return false
	}
	first, isName := call.Args[0].(*ast.Ident)
	return isName && first.Name == "ctx"
}

// checkSites wants every write of the manager in the matrix.
func (m *matrix) checkSites(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	reached := map[string]bool{}
	for _, r := range m.rows {
		reached[r.write[strings.LastIndexByte(r.write, ' ')+1:]] = true
	}
	for _, site := range writeSites(t, sources(writers...)...) {
		if !reached[site] && elsewhere[site] == "" {
			t.Errorf("no scenario comes to the write of %s", site)
		}
	}
}

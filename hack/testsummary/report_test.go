package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	. "github.com/onsi/gomega"
)

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return lines[len(lines)-1]
}

// TestStreams feeds hand-written events: what `go test` prints in situations
// that are hard to bring about, or slow.
func TestStreams(t *testing.T) {
	t.Parallel()
	const passed = `{"Action":"run","Package":"a","Test":"T"}
{"Action":"pass","Package":"a","Test":"T"}
{"Action":"pass","Package":"a"}
`
	const skipped = `{"Action":"run","Package":"b","Test":"S"}
{"Action":"output","Package":"b","Test":"S","Output":"=== RUN   S\n"}
{"Action":"output","Package":"b","Test":"S","Output":"    s_test.go:3: no node\n"}
{"Action":"output","Package":"b","Test":"S","Output":"--- SKIP: S (0.00s)\n"}
{"Action":"skip","Package":"b","Test":"S"}
{"Action":"pass","Package":"b"}
`
	for _, tc := range []struct {
		name, stream string
		skipsFail    bool
		code         int
		last         string
		shows        []string
	}{
		{name: "a pass", stream: passed, last: "1 passed, 0 failed, 0 skipped", shows: []string{"ok    a  0.0s  1 passed, 0 skipped"}},
		{name: "a skip shows its reason", stream: passed + skipped, last: "1 passed, 0 failed, 1 skipped",
			shows: []string{"b S: s_test.go:3: no node"}},
		{name: "a skip fails in CI", stream: passed + skipped, skipsFail: true, code: 1,
			last: "1 passed, 0 failed, 1 skipped", shows: []string{"a skipped test counts as a failure"}},
		{name: "no skip in CI", stream: passed, skipsFail: true, last: "1 passed, 0 failed, 0 skipped"},
		{name: "nothing", stream: "", code: 1, last: "0 passed, 0 failed, 0 skipped", shows: []string{"no test ran"}},
		{name: "only skips", stream: skipped, code: 1, last: "0 passed, 0 failed, 1 skipped", shows: []string{"no test ran"}},
		{name: "a package without tests", stream: `{"Action":"skip","Package":"c"}` + "\n" + passed,
			last: "1 passed, 0 failed, 0 skipped"},
		{name: "the go command gives up", stream: "go: cannot find main module\n", code: 1,
			last: "0 passed, 0 failed, 0 skipped", shows: []string{"go: cannot find main module"}},
		{name: "the run is cut short", code: 1, last: "1 passed, 1 failed, 0 skipped",
			stream: passed + `{"Action":"run","Package":"d","Test":"Hangs"}` + "\n",
			shows:  []string{"d Hangs", "the test run ended before this package did"}},
		{name: "a race reported in a test that passed", code: 1, last: "1 passed, 1 failed, 0 skipped",
			stream: `{"Action":"output","Package":"e","Test":"Fine","Output":"WARNING: DATA RACE\nin e.go:7\n"}
{"Action":"pass","Package":"e","Test":"Fine"}
{"Action":"fail","Package":"e","Test":"Racy"}
{"Action":"fail","Package":"e"}
`, shows: []string{"in e.go:7"}},
		{name: "a last line without its end", stream: strings.TrimSuffix(passed, "\n"), last: "1 passed, 0 failed, 0 skipped"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			var out strings.Builder
			g.Expect(run(strings.NewReader(tc.stream), &out, tc.skipsFail)).To(Equal(tc.code), out.String())
			g.Expect(lastLine(out.String())).To(Equal(tc.last))
			for _, text := range tc.shows {
				g.Expect(out.String()).To(ContainSubstring(text))
			}
		})
	}
}

func TestReadErrorFails(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	in := io.MultiReader(
		strings.NewReader(`{"Action":"pass","Package":"a","Test":"T"}`+"\n"),
		iotest.ErrReader(errors.New("broken pipe")))
	var out strings.Builder
	g.Expect(run(in, &out, false)).To(Equal(1))
	g.Expect(out.String()).To(ContainSubstring("broken pipe"))
}

// TestRealRun runs `go test -json` on packages that end in every way there is.
func TestRealRun(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":         "module example.test/m\n\ngo 1.26.0\n",
		"good/g_test.go": "package good\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"x\", func(t *testing.T) {}); t.Run(\"y\", func(t *testing.T) {}) }\nfunc TestB(t *testing.T) { t.Skip(\"needs a hub\") }\n",
		"bad/b_test.go":  "package bad\nimport \"testing\"\nfunc TestA(t *testing.T) { t.Run(\"row\", func(t *testing.T) { t.Error(\"got 1, want 2\") }); t.Run(\"other\", func(t *testing.T) {}) }\nfunc TestParent(t *testing.T) { t.Run(\"fine\", func(t *testing.T) {}); t.Error(\"after the rows\") }\n",
		"boom/p_test.go": "package boom\nimport \"testing\"\nfunc TestA(t *testing.T) { var m map[string]int; m[\"x\"] = 1 }\n",
		"gone/m_test.go": "package gone\nimport (\"fmt\"; \"os\"; \"testing\")\nfunc TestMain(m *testing.M) { fmt.Println(\"no server\"); os.Exit(3) }\nfunc TestA(t *testing.T) {}\n",
		"typo/t_test.go": "package typo\nimport \"testing\"\nfunc TestA(t *testing.T) { undefinedName() }\n",
		"none/n.go":      "package none\n",
	} {
		path := filepath.Join(dir, name)
		g.Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		g.Expect(os.WriteFile(path, []byte(content), 0o600)).To(Succeed())
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-json", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	stream, err := cmd.Output()
	g.Expect(err).To(BeAssignableToTypeOf(&exec.ExitError{}), "go test must have failed")

	var out strings.Builder
	g.Expect(run(strings.NewReader(string(stream)), &out, false)).To(Equal(1))

	text := out.String()
	// passed: good x and y, bad other and fine; failed: row, TestParent, boom, gone, typo.
	g.Expect(lastLine(text)).To(Equal("4 passed, 5 failed, 1 skipped"), text)
	g.Expect(text).To(ContainSubstring("example.test/m/good TestB: g_test.go:4: needs a hub"))
	for _, want := range []string{
		"got 1, want 2", "after the rows", "assignment to entry in nil map", "no server", "undefined: undefinedName",
		"  example.test/m/bad TestA/row\n", "  example.test/m/bad TestParent\n", "  example.test/m/boom TestA\n",
		"  example.test/m/gone\n", "  example.test/m/typo\n",
	} {
		g.Expect(text).To(ContainSubstring(want))
	}
	g.Expect(text).NotTo(ContainSubstring("example.test/m/none"))
}

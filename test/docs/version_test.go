package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// TestMakeBuildStampsTheVersion with the flags that all programs are built with. The simulator is the smallest.
func TestMakeBuildStampsTheVersion(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	version, err := os.ReadFile(root + "/VERSION")
	g.Expect(err).NotTo(HaveOccurred())
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "make", "build", "PROGRAMS=devicesim", "BIN="+bin)
	build.Dir = root
	// Not the variables of a make that runs this test.
	build.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") })
	out, err := build.CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	out, err = exec.CommandContext(t.Context(), filepath.Join(bin, "devicesim"), "--version").Output()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(out)).To(HavePrefix("devicesim " + strings.TrimSpace(string(version)) + " (commit "))
}

// TestProgramsHoldTimeZones, as their images have no files of them.
func TestProgramsHoldTimeZones(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	list := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./cmd/...")
	list.Dir = root
	out, err := list.Output()
	g.Expect(err).NotTo(HaveOccurred())
	programs := strings.Split(strings.TrimSpace(string(out)), "\n")
	g.Expect(programs).To(HaveLen(4))
	for _, line := range programs {
		packages := strings.Fields(line)
		g.Expect(slices.Contains(packages, "time/tzdata")).To(BeTrue(), packages[0])
	}
}

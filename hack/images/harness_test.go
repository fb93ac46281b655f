package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	. "github.com/onsi/gomega"
)

const registryHost = "registry.example.com/iot"

// platformsUnderTest are two, so that an index has something to tell apart.
var platformsUnderTest = []string{"linux/amd64", "linux/arm64"}

// binaries builds a program that does nothing for both platforms, under the names of all programs.
func binaries(t *testing.T) string {
	t.Helper()
	g := NewWithT(t)
	dir := t.TempDir()
	for _, platform := range platformsUnderTest {
		folder := filepath.Join(dir, platform)
		goos, goarch, _ := strings.Cut(platform, "/")
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(folder, "nothing"), "./testdata/nothing")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
		out, err := build.CombinedOutput()
		g.Expect(err).NotTo(HaveOccurred(), string(out))
		for _, p := range programs() {
			g.Expect(os.Link(filepath.Join(folder, "nothing"), filepath.Join(folder, p.name))).To(Succeed())
		}
	}
	return dir
}

// buildArgs are those of a build of all programs.
func buildArgs(t *testing.T, binaries, out string) []string {
	t.Helper()
	return []string{
		"build", "--binaries", binaries, "--out", out, "--license", "../../LICENSE", "--version", "1.2.3",
		"--revision", "0123456789abcdef0123456789abcdef01234567", "--registry", registryHost,
	}
}

// built is where the images of such a build are.
func built(t *testing.T) string {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := t.TempDir()
	var out bytes.Buffer
	NewWithT(t).Expect(run(t.Context(), buildArgs(t, binaries(t), dir), &out)).To(Succeed())
	return dir
}

// indexOf is what a layout holds.
func indexOf(t *testing.T, dir string, p program) v1.ImageIndex {
	t.Helper()
	g := NewWithT(t)
	top, err := layout.ImageIndexFromPath(filepath.Join(dir, p.image))
	g.Expect(err).NotTo(HaveOccurred())
	manifest, err := top.IndexManifest()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(manifest.Manifests).To(HaveLen(1))
	all, err := top.ImageIndex(manifest.Manifests[0].Digest)
	g.Expect(err).NotTo(HaveOccurred())
	return all
}

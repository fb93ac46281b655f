package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	. "github.com/onsi/gomega"
)

func names(t *testing.T, text []byte) map[string]string {
	t.Helper()
	g := NewWithT(t)
	var bom cyclonedx.BOM
	g.Expect(cyclonedx.NewBOMDecoder(bytes.NewReader(text), cyclonedx.BOMFileFormatJSON).Decode(&bom)).To(Succeed())
	versions := map[string]string{}
	for _, component := range *bom.Components {
		g.Expect(component.PackageURL).To(Equal("pkg:golang/" + component.Name + "@" + strings.ReplaceAll(component.Version, "+", "%2B")))
		versions[component.Name] = component.Version
	}
	return versions
}

// TestSBOM makes one of this test, which is built from what go.mod requires.
func TestSBOM(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	path, err := os.Executable()
	g.Expect(err).NotTo(HaveOccurred())
	info, err := buildinfo.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	image := platformImage{Image: empty.Image, platform: v1.Platform{OS: "linux", Architecture: "amd64"}, info: info}
	var out bytes.Buffer
	g.Expect(writeSBOM(&out, release{version: "1.2.3", registry: registryHost}, programs()[0], image)).To(Succeed())
	found := names(t, out.Bytes())
	mod, err := os.ReadFile("go.mod")
	g.Expect(err).NotTo(HaveOccurred())
	for _, path := range []string{"github.com/CycloneDX/cyclonedx-go", "github.com/google/go-containerregistry", rootsModule} {
		g.Expect(string(mod)).To(ContainSubstring(path + " " + found[path] + "\n"))
	}
	g.Expect(found["stdlib"]).To(MatchRegexp(`^1\.\d+`))
}

func TestEveryImageHasAnSBOM(t *testing.T) {
	g := NewWithT(t)
	dir := built(t)
	for _, p := range programs() {
		text, err := os.ReadFile(filepath.Join(dir, p.image+"-1.2.3-linux-arm64.cdx.json"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(names(t, text)).To(And(HaveKey("stdlib"), HaveKey(rootsModule)))
	}
}

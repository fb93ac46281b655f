package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	. "github.com/onsi/gomega"
)

// contents are the files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	g := NewWithT(t)
	files := map[string]string{}
	g.Expect(filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = fmt.Sprintf("%x", sha256.Sum256(text))
		return err
	})).To(Succeed())
	return files
}

func TestImagesAreReproducible(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	input, first, second := binaries(t), t.TempDir(), t.TempDir()
	var out bytes.Buffer
	g.Expect(run(t.Context(), buildArgs(t, input, first), &out)).To(Succeed())
	for _, platform := range platformsUnderTest { // the files are younger, and writable
		for _, p := range programs() {
			path := filepath.Join(input, platform, p.name)
			g.Expect(os.Chtimes(path, time.Time{}, time.Unix(1800000000, 0))).To(Succeed())
			g.Expect(os.Chmod(path, 0o600)).To(Succeed())
		}
	}
	g.Expect(run(t.Context(), buildArgs(t, input, second), &out)).To(Succeed())
	g.Expect(contents(t, first)).To(Equal(contents(t, second)))
	g.Expect(contents(t, first)).To(HaveKey("/devicetwin-operator-1.2.3-linux-arm64.tar"))

	g.Expect(run(t.Context(), buildArgs(t, input, second), &out)).To(Succeed(), "over an earlier build")
	g.Expect(contents(t, first)).To(Equal(contents(t, second)))

	t.Setenv("SOURCE_DATE_EPOCH", "1700000001")
	g.Expect(run(t.Context(), buildArgs(t, input, second), &out)).To(Succeed())
	g.Expect(contents(t, first)).NotTo(Equal(contents(t, second)), "of another commit")
}

// tree is what an image holds: type, mode and owner of each file, and the contents of some.
func tree(t *testing.T, image v1.Image) (files map[string]string, text map[string][]byte) {
	t.Helper()
	g := NewWithT(t)
	files, text = map[string]string{}, map[string][]byte{}
	layers, err := image.Layers()
	g.Expect(err).NotTo(HaveOccurred())
	for _, layer := range layers {
		content, err := layer.Uncompressed()
		g.Expect(err).NotTo(HaveOccurred())
		for archive := tar.NewReader(content); ; {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(header.ModTime).To(BeTemporally("==", time.Unix(1700000000, 0)))
			files[header.Name] = fmt.Sprintf("%c %o %d:%d", header.Typeflag, header.Mode, header.Uid, header.Gid)
			text[header.Name], err = io.ReadAll(archive)
			g.Expect(err).NotTo(HaveOccurred())
		}
		g.Expect(content.Close()).To(Succeed())
	}
	return files, text
}

func TestImages(t *testing.T) {
	g := NewWithT(t)
	dir := built(t)
	base := ""
	for _, p := range programs() {
		all := indexOf(t, dir, p)
		g.Expect(validate.Index(all)).To(Succeed())
		manifest, err := all.IndexManifest()
		g.Expect(err).NotTo(HaveOccurred())
		var platforms []string
		for _, descriptor := range manifest.Manifests {
			platforms = append(platforms, descriptor.Platform.String())
			image, err := all.Image(descriptor.Digest)
			g.Expect(err).NotTo(HaveOccurred())
			checkConfig(t, p, *descriptor.Platform, image)
			checkArchive(t, dir, p, *descriptor.Platform, image)
			files, _ := tree(t, image)
			want := map[string]string{
				"etc/": "5 755 0:0", "etc/group": "0 644 0:0", "etc/passwd": "0 644 0:0", "etc/ssl/": "5 755 0:0", "etc/ssl/certs/": "5 755 0:0",
				"etc/ssl/certs/ca-certificates.crt": "0 644 0:0", "licenses/": "5 755 0:0", "licenses/LICENSE": "0 644 0:0", "tmp/": "5 1777 0:0",
				p.name: "0 755 0:0",
			}
			if p.data != "" {
				want["data/"] = "5 700 65532:65532"
			}
			g.Expect(files).To(Equal(want))
			layers, err := image.Layers()
			g.Expect(err).NotTo(HaveOccurred())
			digest, err := layers[0].Digest()
			g.Expect(err).NotTo(HaveOccurred())
			if base == "" {
				base = digest.String()
			}
			g.Expect(digest.String()).To(Equal(base), "a node downloads it once for all images")
		}
		g.Expect(platforms).To(Equal(platformsUnderTest))
	}
}

func checkConfig(t *testing.T, p program, platform v1.Platform, image v1.Image) {
	t.Helper()
	g := NewWithT(t)
	file, err := image.ConfigFile()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(file.OS + "/" + file.Architecture).To(Equal(platform.String()))
	g.Expect(file.Created.Unix()).To(BeEquivalentTo(1700000000))
	g.Expect(file.Config.User).To(MatchRegexp(`^[1-9]\d*:[1-9]\d*$`), "numbers, and not root's")
	g.Expect(file.Config.Entrypoint).To(Equal([]string{"/" + p.name}))
	manifest, err := image.Manifest()
	g.Expect(err).NotTo(HaveOccurred())
	for _, labels := range []map[string]string{file.Config.Labels, manifest.Annotations} {
		g.Expect(labels).To(And(
			HaveKeyWithValue("org.opencontainers.image.title", p.title),
			HaveKeyWithValue("org.opencontainers.image.description", p.description),
			HaveKeyWithValue("org.opencontainers.image.version", "1.2.3"),
			HaveKeyWithValue("org.opencontainers.image.revision", "0123456789abcdef0123456789abcdef01234567"),
			HaveKeyWithValue("org.opencontainers.image.created", "2023-11-14T22:13:20Z"),
			HaveKeyWithValue("org.opencontainers.image.licenses", "Apache-2.0"),
			HaveKeyWithValue("org.opencontainers.image.source", HavePrefix("https://")),
		))
	}
}

// checkArchive reads what `docker load` would.
func checkArchive(t *testing.T, dir string, p program, platform v1.Platform, image v1.Image) {
	t.Helper()
	g := NewWithT(t)
	tag, err := name.NewTag(registryHost + "/" + p.image + ":1.2.3")
	g.Expect(err).NotTo(HaveOccurred())
	loaded, err := tarball.ImageFromPath(filepath.Join(dir, p.image+"-1.2.3-linux-"+platform.Architecture+".tar"), &tag)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(validate.Image(loaded)).To(Succeed())
	want, err := image.ConfigName()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(loaded.ConfigName()).To(Equal(want))
}

// TestRoots has those that Azure's services have their certificates from:
// https://learn.microsoft.com/azure/security/fundamentals/azure-ca-details
func TestRoots(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	names := map[string]bool{}
	for rest := roots(); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			g.Expect(rest).To(BeEmpty())
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		g.Expect(err).NotTo(HaveOccurred())
		names[certificate.Subject.CommonName] = true
	}
	g.Expect(len(names)).To(BeNumerically(">", 100))
	g.Expect(names).To(And(HaveKey("DigiCert Global Root G2"), HaveKey("Microsoft RSA Root Certificate Authority 2017")))
}

func TestRefusedBuilds(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	input := binaries(t)
	var out bytes.Buffer
	fails := func(want string, args ...string) {
		t.Helper()
		g.Expect(run(t.Context(), append(buildArgs(t, input, t.TempDir()), args...), &out)).To(MatchError(ContainSubstring(want)))
	}
	fails(`no image for a program "kubelet"`, "--programs", "manager kubelet")
	fails("--version", "--version", "")
	fails("no such file", "--platforms", "linux/riscv64")
	fails("unexpected argument", "now")
	wrong := filepath.Join(input, "linux/arm64/manager")
	g.Expect(os.Remove(wrong)).To(Succeed())
	g.Expect(os.Link(filepath.Join(input, "linux/amd64/manager"), wrong)).To(Succeed())
	fails("is built for linux/amd64, not for linux/arm64")
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	fails("SOURCE_DATE_EPOCH has to be seconds")
}

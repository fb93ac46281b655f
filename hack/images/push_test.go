package main

import (
	"bytes"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	. "github.com/onsi/gomega"
)

func TestPush(t *testing.T) {
	g := NewWithT(t)
	dir := built(t)
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	target := strings.TrimPrefix(server.URL, "http://") + "/plants/north"

	var out bytes.Buffer
	g.Expect(run(t.Context(), []string{"push", "--from", dir, "--registry", target}, &out)).To(Succeed())
	for _, p := range programs() {
		tag, err := name.NewTag(target + "/" + p.image + ":1.2.3")
		g.Expect(err).NotTo(HaveOccurred())
		pushed, err := remote.Index(tag)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(validate.Index(pushed)).To(Succeed())
		want, err := indexOf(t, dir, p).Digest()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pushed.Digest()).To(Equal(want))
		g.Expect(out.String()).To(ContainSubstring(tag.String() + "@" + want.String() + "\n"))
		for _, platform := range platformsUnderTest { // as a node pulls it
			wanted, err := v1.ParsePlatform(platform)
			g.Expect(err).NotTo(HaveOccurred())
			image, err := remote.Image(tag, remote.WithPlatform(*wanted))
			g.Expect(err).NotTo(HaveOccurred())
			file, err := image.ConfigFile()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(file.Platform().String()).To(Equal(platform))
		}
	}
}

func TestRefusedPushes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var out bytes.Buffer
	g.Expect(run(t.Context(), []string{"push", "--from", t.TempDir()}, &out)).To(MatchError(ContainSubstring("--registry")))
	g.Expect(run(t.Context(), []string{"push", "--from", t.TempDir(), "--registry", "localhost:1"}, &out)).
		To(MatchError(ContainSubstring("`make images` writes it")))
	g.Expect(run(t.Context(), []string{"pull"}, &out)).To(MatchError(ContainSubstring("unknown command")))
	g.Expect(out.String()).To(BeEmpty())
}

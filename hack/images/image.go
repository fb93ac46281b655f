package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	source   = "https://github.com/devicetwin-io/devicetwin-operator"
	licenses = "Apache-2.0"
)

// release is what all images of one run have in common.
type release struct {
	version  string
	revision string // the commit
	created  time.Time
	registry string // what the images are called after, such as ghcr.io/devicetwin-io
	license  []byte
}

// reference is the image's name with its tag.
func (r release) reference(p program) string {
	return r.registry + "/" + p.image + ":" + r.version
}

// labels are those that https://specs.opencontainers.org/image-spec/annotations/ defines. They are the annotations as well.
func (r release) labels(p program) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":         p.title,
		"org.opencontainers.image.description":   p.description,
		"org.opencontainers.image.version":       r.version,
		"org.opencontainers.image.revision":      r.revision,
		"org.opencontainers.image.created":       r.created.Format(time.RFC3339),
		"org.opencontainers.image.source":        source,
		"org.opencontainers.image.url":           source,
		"org.opencontainers.image.documentation": source + "#readme",
		"org.opencontainers.image.licenses":      licenses,
	}
}

// platformImage is the image of a program for one platform.
type platformImage struct {
	v1.Image
	platform v1.Platform
	info     *buildinfo.BuildInfo
}

// newImage makes an image of the program in the file path, which has to be built for the platform.
func newImage(r release, p program, platform v1.Platform, path string) (platformImage, error) {
	out := platformImage{platform: platform}
	var err error
	if out.info, err = buildinfo.ReadFile(path); err != nil {
		return out, fmt.Errorf("reading what a program was built from (`make images` builds it): %w", err)
	}
	if built := builtFor(out.info); built != platform.String() {
		return out, fmt.Errorf("%s is built for %s, not for %s", path, built, platform)
	}
	binary, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return out, err
	}
	out.Image = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, part := range []struct {
		says    string
		entries []entry
	}{{"CA roots, user, licence", base(r.license)}, {p.name, own(p, binary)}} {
		content, err := layer(part.entries, r.created)
		if err != nil {
			return out, fmt.Errorf("making a layer of %s: %w", p.name, err)
		}
		out.Image, err = mutate.Append(out.Image, mutate.Addendum{
			Layer: content, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "make images", Comment: part.says},
		})
		if err != nil {
			return out, err
		}
	}
	return out, out.configure(r, p)
}

func builtFor(info *buildinfo.BuildInfo) string {
	settings := map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	return settings["GOOS"] + "/" + settings["GOARCH"]
}

// configure says how the image is run.
func (i *platformImage) configure(r release, p program) error {
	config, err := i.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = i.platform.OS, i.platform.Architecture, i.platform.Variant
	config.Created = v1.Time{Time: r.created}
	config.Config = v1.Config{
		User: user, Entrypoint: []string{p.entrypoint()}, Cmd: p.args, WorkingDir: p.workingDir(), Labels: r.labels(p),
	}
	configured, err := mutate.ConfigFile(i.Image, config)
	if err != nil {
		return err
	}
	annotated, ok := mutate.Annotations(configured, r.labels(p)).(v1.Image)
	if !ok {
		return fmt.Errorf("annotating the image of %s gave no image", p.name)
	}
	i.Image = annotated
	return nil
}

// index holds the images of a program for all platforms.
func index(r release, p program, images []platformImage) (v1.ImageIndex, error) {
	out := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		out = mutate.AppendManifests(out, mutate.IndexAddendum{Add: image.Image, Descriptor: v1.Descriptor{Platform: &image.platform}})
	}
	annotated, ok := mutate.Annotations(out, r.labels(p)).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotating the index of %s gave no index", p.name)
	}
	return annotated, nil
}

package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// rootsModule has the CA roots that the images hold.
const rootsModule = "golang.org/x/crypto/x509roots/fallback"

// writeSBOM writes, as CycloneDX, what an image is made of: the modules that the Go command noted in the program, the
// standard library, and the module of the CA roots.
func writeSBOM(w io.Writer, r release, p program, image platformImage) error {
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	roots, err := rootsComponent()
	if err != nil {
		return err
	}
	components := append(modules(image.info), roots)
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: r.created.Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef: digest.String(), Type: cyclonedx.ComponentTypeContainer, Name: r.registry + "/" + p.image,
			Version: r.version, Description: p.description,
			Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: licenses}}},
			PackageURL: fmt.Sprintf("pkg:oci/%s@%s?arch=%s&repository_url=%s/%s&tag=%s",
				p.image, strings.ReplaceAll(digest.String(), ":", "%3A"), image.platform.Architecture, r.registry, p.image, r.version),
		},
	}
	bom.Components = &components
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

// modules are those of a program, its own left out: that is the image itself.
func modules(info *buildinfo.BuildInfo) []cyclonedx.Component {
	goVersion, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	out := []cyclonedx.Component{library("stdlib", goVersion)}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		out = append(out, library(module.Path, module.Version))
	}
	return out
}

func library(path, version string) cyclonedx.Component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", path, strings.ReplaceAll(version, "+", "%2B"))
	return cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl}
}

// rootsComponent is the module that is part of this program for the sake of its CA roots.
func rootsComponent() (cyclonedx.Component, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cyclonedx.Component{}, fmt.Errorf("this program does not know what it was built from")
	}
	for _, module := range info.Deps {
		if module.Path == rootsModule {
			return library(module.Path, module.Version), nil
		}
	}
	return cyclonedx.Component{}, fmt.Errorf("this program was built without %s", rootsModule)
}

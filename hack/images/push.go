package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// push sends what is in the layouts of dir to a registry, with the tag that it has there. It signs in as docker does;
// a registry on loopback is called over plain HTTP.
func push(ctx context.Context, dir, registry string, list []program, out io.Writer) error {
	for _, p := range list {
		if err := pushOne(ctx, filepath.Join(dir, p.image), registry+"/"+p.image, out); err != nil {
			return fmt.Errorf("pushing the image of %s: %w", p.name, err)
		}
	}
	return nil
}

func pushOne(ctx context.Context, path, repository string, out io.Writer) error {
	top, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return fmt.Errorf("opening an OCI layout (`make images` writes it): %w", err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		return err
	}
	if len(manifest.Manifests) != 1 {
		return errors.New("the layout does not hold just one index")
	}
	content := manifest.Manifests[0]
	all, err := top.ImageIndex(content.Digest)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(repository + ":" + content.Annotations["org.opencontainers.image.ref.name"])
	if err != nil {
		return err
	}
	if err := remote.WriteIndex(tag, all, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s@%s\n", tag, content.Digest)
	return nil
}

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// writer puts images into a folder.
type writer struct {
	release release
	dir     string
	// checksums are lines as sha256sum takes them, of the files; digests those of the images, by their names.
	checksums, digests strings.Builder
}

// write puts the images of a program into the folder, and says on out what they are.
func (w *writer) write(p program, images []platformImage, out io.Writer) error {
	for _, image := range images {
		if err := w.writePlatform(p, image, out); err != nil {
			return fmt.Errorf("writing the image of %s for %s: %w", p.name, image.platform, err)
		}
	}
	all, err := index(w.release, p, images)
	if err != nil {
		return err
	}
	digest, err := all.Digest()
	if err != nil {
		return err
	}
	reference := w.release.reference(p)
	fmt.Fprintf(&w.digests, "%s  %s\n", digest.Hex, reference)
	fmt.Fprintf(out, "%-52s %-12s %7s  %s\n", reference, "index", "", digest)
	dir := filepath.Join(w.dir, p.image)
	if err := os.RemoveAll(dir); err != nil { // blobs of an earlier build
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendIndex(all, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": w.release.version, // for OCI's own tools
		"io.containerd.image.name":          reference,
	}))
}

func (w *writer) writePlatform(p program, image platformImage, out io.Writer) error {
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	size, err := compressedSize(image)
	if err != nil {
		return err
	}
	tag, err := name.NewTag(w.release.reference(p))
	if err != nil {
		return err
	}
	stem := fmt.Sprintf("%s-%s-%s-%s", p.image, w.release.version, image.platform.OS, image.platform.Architecture)
	fmt.Fprintf(out, "%-52s %-12s %4.1f MB  %s\n", w.release.reference(p), image.platform, float64(size)/1e6, digest)
	if err := w.file(stem+".tar", func(file io.Writer) error { return tarball.Write(tag, image.Image, file) }); err != nil {
		return err
	}
	return w.file(stem+".cdx.json", func(file io.Writer) error { return writeSBOM(file, w.release, p, image) })
}

// file writes a file and notes its checksum.
func (w *writer) file(base string, write func(io.Writer) error) error {
	file, err := os.Create(filepath.Join(w.dir, base))
	if err != nil {
		return err
	}
	sum := sha256.New()
	if err := write(io.MultiWriter(file, sum)); err != nil {
		_ = file.Close() // what went wrong is known
		return err
	}
	fmt.Fprintf(&w.checksums, "%x  %s\n", sum.Sum(nil), base)
	return file.Close()
}

// finish writes the lists.
func (w *writer) finish() error {
	for base, list := range map[string]string{"checksums.txt": w.checksums.String(), "digests.txt": w.digests.String()} {
		if err := os.WriteFile(filepath.Join(w.dir, base), []byte(list), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compressedSize is what a node downloads, in bytes.
func compressedSize(image v1.Image) (int64, error) {
	layers, err := image.Layers()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}

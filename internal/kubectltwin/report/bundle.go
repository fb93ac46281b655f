package report

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// bundle is what is collected, by the names of files.
type bundle struct {
	files map[string]*bytes.Buffer
	// missing says what could not be collected.
	missing []string
}

func newBundle() *bundle { return &bundle{files: map[string]*bytes.Buffer{}} }

// file is the content of a file, to be written to.
func (b *bundle) file(name string) *bytes.Buffer {
	if b.files[name] == nil {
		b.files[name] = &bytes.Buffer{}
	}
	return b.files[name]
}

// object adds an object to a file of YAML documents.
func (b *bundle) object(file string, obj client.Object) error {
	text, err := redacted(obj)
	if err != nil {
		return fmt.Errorf("%s: %w", obj.GetName(), err)
	}
	into := b.file(file)
	into.WriteString("---\n")
	into.Write(text)
	return nil
}

// lacks notes what could not be collected, and goes on.
func (b *bundle) lacks(what string, err error) {
	if err != nil {
		b.missing = append(b.missing, what+": "+strings.Join(strings.Fields(err.Error()), " "))
	}
}

// write writes the archive; every file bears the same time.
func (b *bundle) write(out io.Writer, folder string, at time.Time) error {
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		content := b.files[name].Bytes()
		header := &tar.Header{Name: folder + "/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: at, Format: tar.FormatPAX}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

// save writes the archive to a file, whole or not at all. A file that is there is not replaced.
func (b *bundle) save(path, folder string, at time.Time) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(b.write(file, folder, at), file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

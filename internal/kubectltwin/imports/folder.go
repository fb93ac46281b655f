package imports

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

const (
	kustomizationFile = kustomization + ".yaml"
	// generated begins a kustomization that may be written anew.
	generated  = "# Written by kubectl twin import: every manifest of this folder.\n"
	fileMode   = 0o600
	folderMode = 0o750
)

// document is a manifest with a file of its own.
type document interface {
	file() string
	text() ([]byte, error)
}

// write writes one file for each manifest, and a kustomization of all that are in the folder. A file that holds just that
// already is left alone. It returns how many were written.
func write(dir string, documents []document) (written int, err error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return 0, err
	}
	for _, d := range documents {
		text, err := d.text()
		if err != nil {
			return written, err
		}
		changed, err := replace(filepath.Join(dir, d.file()), text)
		if err != nil {
			return written, err
		}
		if changed {
			written++
		}
	}
	return written, nil
}

// errNotOurs says that the folder has a kustomization that was not written here.
var errNotOurs = errors.New("its " + kustomizationFile + " was written by another hand: it is left as it is")

// kustomize writes the kustomization of a folder.
func kustomize(dir string) error {
	path := filepath.Join(dir, kustomizationFile)
	before, err := os.ReadFile(path)
	switch {
	case err == nil && !bytes.HasPrefix(before, []byte(generated)):
		return errNotOurs
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return err
	}
	var names []string
	for _, entry := range entries {
		if name := entry.Name(); !entry.IsDir() && filepath.Ext(name) == ".yaml" && name != kustomizationFile {
			names = append(names, name)
		}
	}
	text, err := yaml.Marshal(map[string]any{"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": names})
	if err != nil {
		return err
	}
	_, err = replace(path, append([]byte(generated), text...))
	return err
}

// replace writes a file unless it holds the same already. It is there whole or as it was.
func replace(path string, text []byte) (changed bool, err error) {
	before, err := os.ReadFile(path)
	if err == nil && bytes.Equal(before, text) {
		return false, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	next := path + ".new"
	if err := os.WriteFile(next, text, fileMode); err != nil {
		return false, errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return false, fmt.Errorf("putting %s in place: %w", path, err)
	}
	return true, nil
}

package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/controlplane"
)

const (
	tutorialFolder = "tutorial"
	deviceTwinKind = "DeviceTwin"
)

// manifests are a user's working copy of the tutorial's manifests, to edit
// and apply, below an overlay that adds the emulator's certificate.
type manifests struct {
	dir string
	// twinFile holds the DeviceTwin.
	twinFile string
}

// copyManifests takes the sample as it is in the repository.
func copyManifests(sample, dir string) (*manifests, error) {
	if err := os.CopyFS(filepath.Join(dir, tutorialFolder), os.DirFS(sample)); err != nil {
		return nil, fmt.Errorf("copy the tutorial's manifests: %w", err)
	}
	m := &manifests{dir: dir}
	files, err := filepath.Glob(filepath.Join(dir, tutorialFolder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		object, err := readObject(file)
		if err == nil && object["kind"] == deviceTwinKind {
			m.twinFile = file
		}
	}
	if m.twinFile == "" {
		return nil, fmt.Errorf("no file in %s holds one %s and nothing else", sample, deviceTwinKind)
	}
	return m, nil
}

// readObject reads a file with exactly one object.
func readObject(file string) (map[string]any, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	documents := controlplane.SplitDocuments(content)
	if len(documents) != 1 {
		return nil, fmt.Errorf("%s holds %d objects, want one", file, len(documents))
	}
	var object map[string]any
	if err := yaml.Unmarshal(documents[0], &object); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return object, nil
}

// writeOverlay writes the kustomization that puts the certificate into the
// HubConnection, and the tier: the emulator has no throttles, and at the rate of
// queries of an S1 unit the step about many devices takes minutes. It leaves out the
// objects of some kinds.
func (m *manifests) writeOverlay(caPEM []byte, leftOut ...string) error {
	patches := []any{patchOf("HubConnection", "spec: {caBundle: "+base64.StdEncoding.EncodeToString(caPEM)+", tier: {sku: S3}}")}
	for _, kind := range leftOut {
		patches = append(patches, patchOf(kind, "$patch: delete"))
	}
	content, err := yaml.Marshal(map[string]any{
		"apiVersion": "kustomize.config.k8s.io/v1beta1",
		"kind":       "Kustomization",
		"resources":  []string{tutorialFolder},
		"patches":    patches,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(m.dir, "kustomization.yaml"), content, 0o600)
}

// patchOf is a kustomize patch of every object of a kind; its name is needed
// and does not matter.
func patchOf(kind, content string) map[string]any {
	return map[string]any{
		"target": map[string]any{"kind": kind},
		"patch":  "apiVersion: iothub.devicetwin.io/v1alpha1\nkind: " + kind + "\nmetadata: {name: any}\n" + content + "\n",
	}
}

// edit changes the DeviceTwin's spec in its file.
func (m *manifests) edit(change func(spec map[string]any) error) error {
	object, err := readObject(m.twinFile)
	if err != nil {
		return err
	}
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s has no spec", m.twinFile)
	}
	if err := change(spec); err != nil {
		return fmt.Errorf("edit %s: %w", filepath.Base(m.twinFile), err)
	}
	content, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	return os.WriteFile(m.twinFile, content, 0o600)
}

// setLeaf changes the value at a path that exists.
func setLeaf(tree map[string]any, value any, path ...string) error {
	parent, err := parentOf(tree, path)
	if err != nil {
		return err
	}
	parent[path[len(path)-1]] = value
	return nil
}

// removeLeaf removes the key at a path that exists.
func removeLeaf(tree map[string]any, path ...string) error {
	parent, err := parentOf(tree, path)
	if err != nil {
		return err
	}
	delete(parent, path[len(path)-1])
	return nil
}

func parentOf(tree map[string]any, path []string) (map[string]any, error) {
	missing := fmt.Errorf("there is no %s", strings.Join(path, "."))
	for _, name := range path[:len(path)-1] {
		child, ok := tree[name].(map[string]any)
		if !ok {
			return nil, missing
		}
		tree = child
	}
	if _, found := tree[path[len(path)-1]]; !found {
		return nil, missing
	}
	return tree, nil
}

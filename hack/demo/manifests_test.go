package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const twinManifest = `# a comment
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata:
  name: thermostat-1
spec:
  tags:
    location: {region: US, plant: Redmond43}
  desired:
    power_level: 1
`

func sampleManifests(t *testing.T) *manifests {
	t.Helper()
	sample := t.TempDir()
	for name, content := range map[string]string{
		"devicetwin.yaml":    twinManifest,
		"twinquery.yaml":     "kind: TwinQuery\n",
		"kustomization.yaml": "resources: [devicetwin.yaml, twinquery.yaml]\n",
	} {
		if err := os.WriteFile(filepath.Join(sample, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := copyManifests(sample, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func specIn(t *testing.T, file string) map[string]any {
	t.Helper()
	object, err := readObject(file)
	if err != nil {
		t.Fatal(err)
	}
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		t.Fatalf("no spec in %v", object)
	}
	return spec
}

func TestEdit(t *testing.T) {
	t.Parallel()
	m := sampleManifests(t)
	if err := m.edit(func(spec map[string]any) error { return setLeaf(spec, 2, "desired", "power_level") }); err != nil {
		t.Fatal(err)
	}
	if err := m.edit(func(spec map[string]any) error { return removeLeaf(spec, "tags", "location", "region") }); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"tags":    map[string]any{"location": map[string]any{"plant": "Redmond43"}},
		"desired": map[string]any{"power_level": 2.0},
	}
	if got := specIn(t, m.twinFile); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestEditRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	m := sampleManifests(t)
	before := specIn(t, m.twinFile)
	for _, path := range [][]string{{"tags", "location", "city"}, {"tags", "place", "region"}, {"desired", "power_level", "unit"}} {
		err := m.edit(func(spec map[string]any) error { return removeLeaf(spec, path...) })
		if err == nil || !strings.Contains(err.Error(), strings.Join(path, ".")) {
			t.Errorf("%v: got %v, want a complaint that names it", path, err)
		}
	}
	if after := specIn(t, m.twinFile); !reflect.DeepEqual(before, after) {
		t.Errorf("a refused edit changed the file to %v", after)
	}
}

func TestOverlay(t *testing.T) {
	t.Parallel()
	m := sampleManifests(t)
	if err := m.writeOverlay([]byte("PEM"), "TwinQuery"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(m.dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var overlay struct {
		Resources []string `json:"resources"`
		Patches   []struct {
			Target map[string]string `json:"target"`
			Patch  string            `json:"patch"`
		} `json:"patches"`
	}
	if err := yaml.UnmarshalStrict(content[strings.Index(string(content), "patches:"):], &overlay); err != nil {
		t.Fatal(err)
	}
	if len(overlay.Patches) != 2 {
		t.Fatalf("got %d patches, want 2", len(overlay.Patches))
	}
	for i, want := range []struct{ kind, content string }{
		{"HubConnection", "caBundle: UEVN"}, {"TwinQuery", "$patch: delete"},
	} {
		patch := overlay.Patches[i]
		if patch.Target["kind"] != want.kind || !strings.Contains(patch.Patch, want.content) {
			t.Errorf("patch %d is %+v, want %+v", i, patch, want)
		}
	}
}

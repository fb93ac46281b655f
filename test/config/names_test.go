package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestNamesFollowKustomize: what kustomize renames is renamed where others name it, by
// the file and by the component.
func TestNamesFollowKustomize(t *testing.T) {
	t.Parallel()
	for way, with := range map[string]string{
		"file": "configurations: [nameReference.yaml]\n", "component": "components: [component]\n", "neither": "",
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			dir := t.TempDir()
			copied(t, "testdata/names", dir)
			copied(t, filepath.Join(root, "config/kustomize"), filepath.Join(dir, "component"))
			references, err := os.ReadFile(filepath.Join(dir, "component", "nameReference.yaml"))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(os.WriteFile(filepath.Join(dir, "nameReference.yaml"), references, 0o600)).To(Succeed())
			file := filepath.Join(dir, "kustomization.yaml")
			kustomization, err := os.ReadFile(file)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(os.WriteFile(file, append(kustomization, with...), 0o600)).To(Succeed())

			at := map[string]*unstructured.Unstructured{}
			secret := ""
			for _, object := range build(t, dir) {
				at[object.GetName()] = object
				if object.GetKind() == "Secret" {
					secret = object.GetName()
				}
			}
			g.Expect(secret).To(MatchRegexp(`^prod-factory-hub-b-[a-z0-9]{10}$`))
			want := map[string]string{
				"prod-hub-b spec auth connectionStringSecretRef name":          secret,
				"prod-keyless-b spec auth workloadIdentity serviceAccountName": "prod-twins-b",
				"prod-t1-b spec hubRef name":                                   "prod-hub-b",
				"prod-t1-b spec deviceId":                                      "hub",
				"prod-s1-b spec hubRef name":                                   "prod-hub-b",
				"prod-q1-b spec hubRef name":                                   "prod-keyless-b",
			}
			if way == "neither" {
				g.Expect(textAt(g, at, "prod-t1-b spec hubRef name")).To(Equal("hub"), "kustomize knows no reference of a custom resource by itself")
				return
			}
			for path, name := range want {
				g.Expect(textAt(g, at, path)).To(Equal(name), path)
			}
		})
	}
}

// copied copies the files of a folder.
func copied(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o750); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// textAt is a text in one of several objects, at a path that begins with its name.
func textAt(g *WithT, objects map[string]*unstructured.Unstructured, path string) string {
	keys := strings.Fields(path)
	g.Expect(objects).To(HaveKey(keys[0]))
	text, _, err := unstructured.NestedString(objects[keys[0]].Object, keys[1:]...)
	g.Expect(err).NotTo(HaveOccurred())
	return text
}

package config_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// released runs hack/release.sh, and returns what it wrote by name.
func released(t *testing.T) map[string][]byte {
	t.Helper()
	g := NewWithT(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "hack/release.sh", dir, "registry.example.com/iot", "1.2.3")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
	out, err := cmd.CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	g.Expect(err).NotTo(HaveOccurred())
	files := map[string][]byte{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		g.Expect(err).NotTo(HaveOccurred())
		files[filepath.Base(path)] = text
	}
	return files
}

// TestAReleaseInstalls from its flat manifests, with its own image, and is the same each time.
func TestAReleaseInstalls(t *testing.T) {
	g := NewWithT(t)
	files := released(t)
	g.Expect(released(t)).To(Equal(files))
	g.Expect(files).To(And(HaveLen(4), HaveKey(MatchRegexp(`^devicetwin-operator-.*\.tgz$`)), HaveKey("install-with-webhook.yaml")))

	c := newClient(t)
	apply(t, c, "", testenv.Decode(t, bytes.NewReader(files["crds.yaml"])))
	var managers int
	for _, name := range []string{"install.yaml", "install-with-webhook.yaml"} {
		objects := testenv.Decode(t, bytes.NewReader(files[name]))
		apply(t, c, "", objects)
		for _, object := range objects {
			if object.GetKind() != "Deployment" {
				continue
			}
			managers++
			containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(containers).To(HaveLen(1))
			g.Expect(containers[0]).To(HaveKeyWithValue("image", "registry.example.com/iot/devicetwin-operator:1.2.3"), name)
		}
	}
	g.Expect(managers).To(Equal(2))
}

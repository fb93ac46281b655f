package kubectltwin_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/lint"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// TestLintAgreesWithTheAPIServer about what is refused, and on which field.
func TestLintAgreesWithTheAPIServer(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: iothub.devicetwin.io/v1alpha1\nkind: "
	const twin = head + "DeviceTwin\nmetadata: {name: a}\nspec:\n  hubRef: {name: h}\n  deviceId: d\n"
	const hub = head + "HubConnection\nmetadata: {name: a}\nspec:\n  auth: {connectionStringSecretRef: {name: s}}\n"
	const query = head + "TwinQuery\nmetadata: {name: a}\nspec:\n  hubRef: {name: h}\n"
	for name, tt := range map[string]struct{ text, field string }{
		"twin":                {twin, ""},
		"twin with all":       {twin + "  tags: {a: {b: [1, x, {c: 1.5}]}, t: yes}\n  policies: [{path: tags.a, policy: Yield}]\n  acknowledgeTimeout: 5m\n", ""},
		"unknown field":       {twin + "  tagz: {}\n", "spec.tagz"},
		"unknown deep":        {twin + "  mirror: {path: [a]}\n", "spec.mirror.path"},
		"tags no object":      {twin + "  tags: [1]\n", "spec.tags"},
		"null":                {twin + "  tags: null\n", ""},
		"timeout":             {twin + "  acknowledgeTimeout: 800h\n", "spec.acknowledgeTimeout"},
		"timeout no duration": {twin + "  acknowledgeTimeout: soon\n", "spec.acknowledgeTimeout"},
		"thumbprint":          {twin + "  registration: Create\n  authentication: {type: selfSigned}\n", "spec.authentication"},
		"mirror twice":        {twin + "  mirror: {paths: [a, a]}\n", "spec.mirror.paths[1]"},
		"bytes":               {twin + "  mirror: {maxBytes: 99999}\n", "spec.mirror.maxBytes"},
		"name":                {strings.Replace(twin, "name: a", "name: A", 1), "metadata.name"},
		"no name":             {strings.Replace(twin, "name: a", "labels: {a: b}", 1), "metadata.name"},
		"hub":                 {hub, ""},
		"hub with host":       {hub + "  hostName: h.azure-devices.net\n", "spec.hostName"},
		"tier":                {hub + "  tier: {sku: F1, units: 2}\n", "spec.tier.units"},
		"sweep":               {hub + "  readBack: {interval: 2h, fullSweepInterval: 1h}\n", "spec.readBack.fullSweepInterval"},
		"selector":            {hub + "  allowedNamespaces: {from: Selector}\n", "spec.allowedNamespaces"},
		"query":               {query + "  where: tags.a = 1\n", ""},
		"query without":       {query, "spec.where"},
		"from":                {query + "  where: tags.a = 1\n  from: twins\n", "spec.from"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			object := testenv.Decode(t, bytes.NewReader([]byte(tt.text)))[0]
			object.SetNamespace(w.ns)
			refused := suite.env.StrictClient(t).Create(w.Context(), object)
			linter, err := lint.New()
			w.Expect(err).NotTo(HaveOccurred())
			findings, manifests := linter.File(w.Context(), "f", []byte(tt.text))
			w.Expect(manifests).To(Equal(1))
			if tt.field == "" {
				w.Expect(refused).NotTo(HaveOccurred())
				w.Expect(findings).To(BeEmpty())
				return
			}
			w.Expect(apierrors.IsInvalid(refused) || apierrors.IsBadRequest(refused)).To(BeTrue(), "%v", refused)
			w.Expect(refused.Error()).To(ContainSubstring(tt.field))
			w.Expect(findings).NotTo(BeEmpty())
			w.Expect(findings[0].Message).To(HavePrefix(tt.field + ": "))
		})
	}
}

// TestSamplesAreClean, and of the example repository what kustomize does not complete.
func TestSamplesAreClean(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	root, err := testenv.ProjectRoot()
	w.Expect(err).NotTo(HaveOccurred())
	r := w.run("lint", "-R", "--strict", "-f", filepath.Join(root, "config", "samples"), "-f", filepath.Join(root, "examples", "gitops", "base"))
	w.Expect(r).To(And(HaveField("Code", 0), HaveField("Out", "")))
	broken := filepath.Join(w.TempDir(), "broken.yaml")
	w.Expect(os.WriteFile(broken, []byte("apiVersion: iothub.devicetwin.io/v1alpha1\nkind: DeviceTwin\nspec: {}\n"), 0o600)).To(Succeed())
	w.Expect(w.run("lint", "-f", broken).Code).To(Equal(1))
}

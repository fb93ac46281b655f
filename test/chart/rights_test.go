package chart_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// TestManagersMayRenewTheirLeases alone: the names in the role are those that the managers
// of the same release give.
func TestManagersMayRenewTheirLeases(t *testing.T) {
	t.Parallel()
	files := examples(t)
	files["default"] = chart + "/values.yaml"
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			var managers, allowed []string
			for _, object := range render(t, "--values", file) {
				for _, container := range containers(t, object) {
					if container.Name == "manager" {
						managers = append(managers, leaseOf(t, container.Args))
					}
				}
				if object.GetKind() == "Role" && strings.HasSuffix(object.GetName(), "-leader-election-role") {
					allowed = renewable(t, object)
				}
			}
			g.Expect(managers).NotTo(BeEmpty())
			g.Expect(allowed).To(ConsistOf(managers))
		})
	}
}

// leaseOf is the name of the Lease of a manager with these arguments.
func leaseOf(t *testing.T, args []string) string {
	t.Helper()
	g := NewWithT(t)
	flags := map[string]string{}
	for _, arg := range args {
		flag, value, _ := strings.Cut(arg, "=")
		flags[flag] = value
	}
	selected, err := shard.Parse(flags["--watch-label-selector"])
	g.Expect(err).NotTo(HaveOccurred())
	part, err := selected.In(flags["--watch-namespaces"])
	g.Expect(err).NotTo(HaveOccurred())
	return part.Lease("devicetwin-operator.iothub.devicetwin.io")
}

// renewable are the Leases that a role lets its holder update.
func renewable(t *testing.T, object *unstructured.Unstructured) (names []string) {
	t.Helper()
	for _, rule := range roleOf(t, object).Rules {
		if slices.Contains(rule.Resources, "leases") && slices.Contains(rule.Verbs, "update") {
			names = append(names, rule.ResourceNames...)
		}
	}
	return names
}

func roleOf(t *testing.T, object *unstructured.Unstructured) rbacv1.Role {
	t.Helper()
	var role rbacv1.Role
	NewWithT(t).Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &role, true)).To(Succeed())
	return role
}

// TestATenantNeedsNoClusterScopedObject where an administrator has installed the definitions.
func TestATenantNeedsNoClusterScopedObject(t *testing.T) {
	c := newClient(t)
	for _, args := range [][]string{nil, {"--set", "shards.managers[0].name=a"}, {"--set", "podDisruptionBudget.enabled=false"}} {
		for _, object := range render(t, append([]string{"--values", examples(t)["namespaced"]}, args...)...) {
			namespaced, err := c.IsObjectNamespaced(object)
			NewWithT(t).Expect(err).NotTo(HaveOccurred())
			NewWithT(t).Expect(namespaced).To(BeTrue(), "%s %s", object.GetKind(), object.GetName())
			NewWithT(t).Expect(object.GetNamespace()).To(BeElementOf(namespace, "plant-a", "plant-b"))
		}
	}
}

// TestChartAndConfigGrantTheSameInNamespaces as test/config/testdata/namespaced does, with
// kustomize, for the manager of two namespaces that creates no Secrets.
func TestChartAndConfigGrantTheSameInNamespaces(t *testing.T) {
	t.Parallel()
	out, err := testenv.Tool("hack/tools/go.mod", "kustomize", "build", "test/config/testdata/namespaced")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	config := rightsIn(decode(t, out))
	chart := rightsIn(render(t, "--values", examples(t)["namespaced"], "--skip-tests", "--set", "fullnameOverride=devicetwin", "--set", "rbac.createSecrets=false"))
	if diff := cmp.Diff(config, chart); diff != "" {
		t.Errorf("rights (-config +chart):\n%s", diff)
	}
}

// rightsIn are the rules and bindings in namespaces, by namespace, kind and name.
func rightsIn(objects []*unstructured.Unstructured) map[string]any {
	out := map[string]any{}
	for _, object := range objects {
		name := object.GetNamespace() + " " + object.GetKind() + " " + object.GetName()
		switch object.GetKind() {
		case "Role":
			out[name] = object.Object["rules"]
		case "RoleBinding":
			out[name] = []any{object.Object["roleRef"], object.Object["subjects"]}
		}
	}
	return out
}

// Package config_test builds everything under config with kustomize and applies
// it to a real API server, as `kubectl apply --server-side -k` would.
package config_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const (
	root            = "../.."
	systemNamespace = "devicetwin-system"
)

// toolTimeout covers building kustomize and Helm on a slow machine with empty caches.
const toolTimeout = 5 * time.Minute

// certManager holds the definitions of cert-manager's kinds, which a cluster has
// before the operator comes. Nothing here issues certificates.
const certManager = "testdata/cert-manager"

// prometheusOperator likewise.
const prometheusOperator = "testdata/prometheus-operator"

// cluster is an API server with no other custom resource definition: ours come
// from config/crd here. TestMain sets it.
var cluster *testenv.Env

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, testenv.Options{CRDDirs: []string{certManager, prometheusOperator}}, func(e *testenv.Env) { cluster = e }))
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	return cluster.StrictClient(t)
}

// build runs `kustomize build` on a folder given relative to the project's root.
func build(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	out, err := testenv.Tool("hack/tools/go.mod", "kustomize", "build", dir)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return testenv.Decode(t, strings.NewReader(out))
}

// apply applies objects in order, those without a namespace of their own to
// namespace, and reads each back. A kind whose definition was applied a moment
// ago may not be served yet, so that one failure is waited out.
func apply(t *testing.T, c client.Client, namespace string, objects []*unstructured.Unstructured) {
	t.Helper()
	g := NewWithT(t)
	for _, object := range objects {
		namespaced := isNamespaced(t, c, object)
		if namespaced && object.GetNamespace() == "" {
			object.SetNamespace(namespace)
		}
		name := object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
		// Apply answers into its argument.
		sent := object.DeepCopy()
		g.Expect(c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(sent), client.FieldOwner("config-test"), client.ForceOwnership)).
			To(Succeed(), name)
		stored := &unstructured.Unstructured{}
		stored.SetGroupVersionKind(object.GroupVersionKind())
		g.Expect(c.Get(t.Context(), client.ObjectKeyFromObject(object), stored)).To(Succeed(), name)
	}
}

func isNamespaced(t *testing.T, c client.Client, object *unstructured.Unstructured) bool {
	t.Helper()
	var namespaced bool
	NewWithT(t).Eventually(func() error {
		var err error
		namespaced, err = c.IsObjectNamespaced(object)
		return err
	}, time.Minute).Should(Succeed(), "%s is not served", object.GroupVersionKind())
	return namespaced
}

// ensureNamespace makes the namespace that the bases leave to config/default.
func ensureNamespace(t *testing.T, c client.Client, name string) {
	t.Helper()
	err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if !apierrors.IsAlreadyExists(err) {
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
	}
}

// names lists objects as "Kind name", without repeating custom resource
// definitions' long names.
func names(objects []*unstructured.Unstructured) []string {
	var out []string
	for _, object := range objects {
		out = append(out, object.GetKind()+" "+object.GetName())
	}
	return out
}

// TestEveryKustomizationApplies goes through the folders in the order in which
// one needs the other. The samples come before the webhooks, which are not served
// here: the API server would try to call them.
func TestEveryKustomizationApplies(t *testing.T) {
	for _, tc := range []struct {
		dir  string
		want []string // among others
	}{
		{dir: "config/crd", want: []string{
			"CustomResourceDefinition hubconnections.iothub.devicetwin.io",
			"CustomResourceDefinition devicetwins.iothub.devicetwin.io",
			"CustomResourceDefinition devicetwinsets.iothub.devicetwin.io",
			"CustomResourceDefinition twinqueries.iothub.devicetwin.io",
			"CustomResourceDefinition twinrequests.iothub.devicetwin.io",
		}},
		{dir: "config/samples", want: []string{"HubConnection factory-hub", "DeviceTwin press-07", "DeviceTwinSet presses-of-building-43", "TwinQuery building-43-pressing", "TwinRequest presses-of-building-43"}},
		{dir: "config/samples/tutorial", want: []string{
			"HubConnection hub", "DeviceTwin thermostat-1", "TwinQuery redmond43", "TwinQuery redmond43-cellular",
		}},
		{dir: "config/rbac", want: []string{
			"ServiceAccount manager", "ClusterRole manager-role", "ClusterRoleBinding manager-rolebinding",
			"ClusterRole secret-creator-role", "ClusterRoleBinding secret-creator-rolebinding",
			"Role leader-election-role", "RoleBinding leader-election-rolebinding", "ClusterRole metrics-auth-role",
			"ClusterRole devicetwin-viewer-role", "ClusterRole devicetwinset-editor-role", "ClusterRole hubconnection-editor-role", "ClusterRole twinquery-admin-role",
			"ClusterRole twinrequest-editor-role",
		}},
		{dir: "config/manager", want: []string{"Deployment manager"}},
		{dir: "config/webhook", want: []string{"ValidatingWebhookConfiguration validation", "Service webhook"}},
		{dir: "config/policy", want: []string{"ValidatingAdmissionPolicy manager-secrets", "ValidatingAdmissionPolicyBinding manager-secrets"}},
		{dir: "config/approval", want: []string{
			"ValidatingAdmissionPolicy set-approval", "ValidatingAdmissionPolicyBinding set-approval", "ClusterRole devicetwinset-approver-role",
		}},
		{dir: "config/monitoring", want: []string{"PrometheusRule devicetwin-operator", "ConfigMap devicetwin-operator-dashboard"}},
		{dir: "config/certmanager", want: []string{"Issuer webhook", "Certificate webhook"}},
		{dir: "config/default", want: []string{
			"Namespace devicetwin-system", "CustomResourceDefinition devicetwins.iothub.devicetwin.io",
			"ServiceAccount devicetwin-manager", "ClusterRole devicetwin-manager-role",
			"Deployment devicetwin-manager", "Service devicetwin-manager-metrics",
			"ValidatingWebhookConfiguration devicetwin-validation", "Service devicetwin-webhook",
			"Issuer devicetwin-webhook", "Certificate devicetwin-webhook",
		}},
		{dir: "config/shards", want: []string{
			"Deployment devicetwin-manager", "Deployment devicetwin-manager-shard1", "Service devicetwin-manager-shard-metrics",
		}},
		{dir: "test/config/testdata/overlay", want: []string{"Namespace plant-operations", "Deployment devicetwin-manager"}},
		{dir: "config/namespaced", want: []string{"Role devicetwin-manager-role", "RoleBinding devicetwin-secret-creator-rolebinding"}},
		{dir: "test/config/testdata/namespaced", want: []string{"Role devicetwin-manager-role", "Deployment devicetwin-manager"}},
		{dir: "test/config/testdata/without-secret-creation", want: []string{"ClusterRole devicetwin-manager-role"}},
		{dir: "test/config/testdata/without-webhook", want: []string{"Deployment devicetwin-manager", "Service devicetwin-manager-metrics"}},
	} {
		t.Run(tc.dir, func(t *testing.T) {
			g := NewWithT(t)
			c := newClient(t)
			for _, name := range []string{systemNamespace, "plant-a", "plant-b"} {
				ensureNamespace(t, c, name)
			}
			objects := build(t, tc.dir)
			g.Expect(names(objects)).To(ContainElements(tc.want))
			apply(t, c, testenv.Namespace(t, c, nil), objects)
		})
	}
}

// TestNoKustomizationIsLeftOut keeps the table above complete.
func TestNoKustomizationIsLeftOut(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var found []string
	g.Expect(filepath.WalkDir(filepath.Join(root, "config"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "kustomization.yaml" {
			found = append(found, strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root+"/"))
		}
		return err
	})).To(Succeed())
	g.Expect(found).To(ConsistOf(
		"config/crd", "config/rbac", "config/manager", "config/webhook", "config/certmanager", "config/policy", "config/approval", "config/default",
		"config/monitoring",
		"config/samples", "config/samples/tutorial", "config/shards",
		"config/shards/shard1",                // through config/shards
		"config/certmanager/names",            // a transformer, used by config/default
		"config/policy/names",                 // likewise
		"config/components/devicesim-sidecar", // through test/config/testdata/overlay
		"config/kustomize",                    // through TestNamesFollowKustomize
		"config/argocd",                       // through test/gitops
		"config/components/without-webhook",   // through test/config/testdata/without-webhook
		"config/namespaced",
		"config/components/namespaced",              // through test/config/testdata/namespaced
		"config/components/without-secret-creation", // through test/config/testdata/without-secret-creation
	))
}

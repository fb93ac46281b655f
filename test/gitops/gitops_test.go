// Package gitops_test applies what GitOps tools are given, with kubectl and a real API
// server: the example repository, and the configuration of Argo CD.
package gitops_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const (
	root    = "../.."
	example = root + "/examples/gitops"
)

// env is an API server with the kinds of this API. TestMain sets it.
var env *testenv.Env

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, testenv.Options{}, func(e *testenv.Env) { env = e }))
}

func newClient(t *testing.T) client.Client {
	t.Helper()
	g := NewWithT(t)
	scheme := runtime.NewScheme()
	g.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	g.Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	c, err := client.New(env.Config(), client.Options{Scheme: scheme})
	g.Expect(err).NotTo(HaveOccurred())
	return c
}

func kubectl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), env.Kubectl(), append([]string{"--kubeconfig", env.KubeconfigFile(t)}, args...)...)
	out, err := cmd.CombinedOutput()
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), string(out))
}

// twin is what the example declares of a device.
type twin struct{ tags, desired string }

// plants are the overlays of the example, with the DeviceTwins of each.
var plants = map[string]struct {
	mode  v1alpha1.HubMode
	twins map[string]twin
}{
	"redmond": {v1alpha1.ModeReadWrite, map[string]twin{
		"redmond-press-1": {
			`{"location":{"building":"43","floor":2},"model":"press"}`,
			`{"limits":{"temperature":80.5},"recipe":"1.20","telemetry":{"channels":["pressure","temperature"],"debug":true,"intervalSeconds":30}}`,
		},
		"redmond-press-2": {
			`{"location":{"building":"44","floor":1},"model":"press"}`,
			`{"limits":{"temperature":80.5},"recipe":"1.20","telemetry":{"channels":["pressure"],"intervalSeconds":120}}`,
		},
	}},
	"munich": {v1alpha1.ModeReadOnly, map[string]twin{
		"munich-press-1": {
			`{"country":"DE","location":{"building":"7","floor":0},"model":"press"}`,
			`{"limits":{"temperature":75},"recipe":"1.20","telemetry":{"channels":["pressure","temperature"],"debug":true,"intervalSeconds":30}}`,
		},
	}},
}

// TestExampleRepositoryApplies, each plant into a namespace of its own: names follow
// namePrefix, and patches reach into free-form fields without a change of their types.
func TestExampleRepositoryApplies(t *testing.T) {
	t.Parallel()
	c := newClient(t)
	folders, err := os.ReadDir(example + "/plants")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(folders).To(HaveLen(len(plants)))
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			kubectl(t, "apply", "-k", filepath.Join(example, "plants", name))
			namespace := client.InNamespace("plant-" + name)

			var hubs v1alpha1.HubConnectionList
			g.Expect(c.List(t.Context(), &hubs, namespace)).To(Succeed())
			g.Expect(hubs.Items).To(HaveLen(1))
			hub := hubs.Items[0]
			g.Expect(hub.Name).To(Equal(name + "-hub"))
			g.Expect(hub.Spec.Mode).To(Equal(plant.mode))

			var queries v1alpha1.TwinQueryList
			g.Expect(c.List(t.Context(), &queries, namespace)).To(Succeed())
			g.Expect(queries.Items).To(ConsistOf(HaveField("Spec.HubRef.Name", hub.Name)))

			var sets v1alpha1.DeviceTwinSetList
			g.Expect(c.List(t.Context(), &sets, namespace)).To(Succeed())
			g.Expect(sets.Items).To(ConsistOf(And(HaveField("Name", name+"-gateways"), HaveField("Spec.HubRef.Name", hub.Name))))

			var declared v1alpha1.DeviceTwinList
			g.Expect(c.List(t.Context(), &declared, namespace)).To(Succeed())
			found := map[string]twin{}
			for _, obj := range declared.Items {
				g.Expect(obj.Spec.HubRef.Name).To(Equal(hub.Name))
				g.Expect(obj.Spec.DeviceID).To(Equal(obj.Name))
				found[obj.Name] = twin{sorted(g, obj.Spec.Tags), sorted(g, obj.Spec.Desired)}
			}
			g.Expect(found).To(Equal(plant.twins))
		})
	}
}

// sorted is a free-form field with its keys in order.
func sorted(g *WithT, field *runtime.RawExtension) string {
	g.Expect(field).NotTo(BeNil())
	var content map[string]any
	g.Expect(json.Unmarshal(field.Raw, &content)).To(Succeed())
	text, err := json.Marshal(content)
	g.Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// TestNothingIsCurrentBeforeItsFirstReconcile: Flux and Helm, which go by kstatus, wait for
// an object that no operator has seen yet.
func TestNothingIsCurrentBeforeItsFirstReconcile(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	c := newClient(t)
	namespace := testenv.Namespace(t, c, nil)
	kubectl(t, "apply", "-n", namespace, "-k", root+"/config/samples")
	for _, kind := range []string{"HubConnection", "DeviceTwin", "DeviceTwinSet", "TwinQuery"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(kind + "List"))
		g.Expect(c.List(t.Context(), list, client.InNamespace(namespace))).To(Succeed())
		g.Expect(list.Items).To(HaveLen(1))
		result, err := status.Compute(&list.Items[0])
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(result.Status).To(Equal(status.InProgressStatus), kind)
	}
}

// TestExampleHasTheNameReferences that config/kustomize has: a repository that is copied
// stands alone.
func TestExampleHasTheNameReferences(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	shipped, err := os.ReadFile(root + "/config/kustomize/nameReference.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	copied, err := os.ReadFile(example + "/base/nameReference.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(copied)).To(Equal(string(shipped)))
}

// TestArgoConfigurationKeepsWhatIsThere: the keys of config/argocd are added to argocd-cm,
// for each kind of this API.
func TestArgoConfigurationKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	c := newClient(t)
	g.Expect(c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "argocd"}})).To(Succeed())
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "argocd-cm", Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}},
		Data:       map[string]string{"url": "https://argocd.example.com", "resource.customizations.health.example.com_Valve": "return {}"},
	}
	g.Expect(c.Create(t.Context(), settings)).To(Succeed())
	before := settings.DeepCopy()

	kubectl(t, "apply", "--server-side", "--field-manager", "devicetwin-operator", "-k", root+"/config/argocd")
	g.Expect(c.Get(t.Context(), client.ObjectKeyFromObject(settings), settings)).To(Succeed())
	g.Expect(settings.Labels).To(Equal(before.Labels))
	want := before.Data
	for setting, file := range map[string]string{"health": "health.lua", "ignoreDifferences": "ignoreDifferences.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, "config", "argocd", file))
		g.Expect(err).NotTo(HaveOccurred())
		for _, kind := range []string{"HubConnection", "DeviceTwin", "DeviceTwinSet", "TwinQuery"} {
			want["resource.customizations."+setting+"."+v1alpha1.SchemeGroupVersion.Group+"_"+kind] = string(text)
		}
	}
	g.Expect(settings.Data).To(Equal(want))
}

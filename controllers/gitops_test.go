package controllers_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// The manifests are as people write them: with defaults left out, numbers that JSON may
// spell in another way, and keys that YAML could take for something else.
const (
	pressInGit = `
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: press, labels: {app: plant}}
spec:
  hubRef: {name: hub}
  deviceId: d1
  deletionPolicy: Clear
  tags: {location: {building: "43", floor: 2}, "on": true, revision: "1.20"}
  desired: {telemetry: {intervalSeconds: 30, thresholds: [1.0, 2.50, 1e3]}, empty: {}}
`
	secondPressInGit = `
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: press-2, labels: {app: plant}}
spec: {hubRef: {name: hub}, deviceId: d2, deletionPolicy: Clear, tags: {plant: Redmond43}}
`
	queryInGit = `
apiVersion: iothub.devicetwin.io/v1alpha1
kind: TwinQuery
metadata: {name: upstairs, labels: {app: plant}}
spec: {hubRef: {name: hub}, where: tags.location.floor > 1, interval: 5s}
`
)

// kubectl runs it in the world's namespace, with a text as its standard input.
func (w *world) kubectl(stdin string, args ...string) (string, error) {
	w.Helper()
	args = append([]string{"--kubeconfig", w.env.KubeconfigFile(w.T), "-n", w.ns}, args...)
	cmd := exec.CommandContext(w.Context(), w.env.Kubectl(), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mustKubectl is kubectl for what has to succeed.
func (w *world) mustKubectl(stdin string, args ...string) string {
	w.Helper()
	out, err := w.kubectl(stdin, args...)
	w.Expect(err).NotTo(HaveOccurred(), out)
	return out
}

// newPlant is a world with two devices and a hub that is connected.
func newPlant(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, func(w *world) { w.hubOptions.Devices = []string{"d1", "d2"} })
	w.awaitReady(w.connect())
	return w
}

func (w *world) named(name string) *v1alpha1.DeviceTwin {
	return &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}}
}

// TestDiffShowsOnlyWhatAPersonChanged: nothing that the API server or the operator adds to
// an object is a difference to what is in Git.
func TestDiffShowsOnlyWhatAPersonChanged(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{"client-side": nil, "server-side": {"--server-side"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newPlant(t)
			manifests := pressInGit + "---" + queryInGit
			w.mustKubectl(manifests, append([]string{"apply", "-f", "-"}, flags...)...)
			press := w.named("press")
			w.awaitReady(press)
			w.awaitReady(&v1alpha1.TwinQuery{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "upstairs"}})
			w.awaitFinalizers([]*v1alpha1.DeviceTwin{press}, v1alpha1.DeletionClear)

			diff := append([]string{"diff", "-f", "-"}, flags...)
			w.Expect(w.mustKubectl(manifests, diff...)).To(BeEmpty())
			out, err := w.kubectl(strings.Replace(manifests, "floor: 2", "floor: 3", 1), diff...)
			var exit *exec.ExitError
			w.Expect(errors.As(err, &exit) && exit.ExitCode() == 1).To(BeTrue(), "%v: %s", err, out)
			w.Expect(changedLines(out)).To(ConsistOf(MatchRegexp(`^- +floor: 2$`), MatchRegexp(`^\+ +floor: 3$`)))
		})
	}
}

// changedLines are those that a diff adds and removes, but for the generation, which is the
// API server's.
func changedLines(diff string) (changed []string) {
	for line := range strings.Lines(diff) {
		line = strings.TrimRight(line, "\n")
		added, removed := strings.HasPrefix(line, "+ "), strings.HasPrefix(line, "- ")
		if (added || removed) && !strings.Contains(line, " generation: ") {
			changed = append(changed, line)
		}
	}
	return changed
}

// TestTwoManagersShareATwin: each declares leaves of its own with server-side apply, is
// refused those of the other, and takes away nothing but its own.
func TestTwoManagersShareATwin(t *testing.T) {
	t.Parallel()
	w := newPlant(t)
	const partOfTwin = "apiVersion: iothub.devicetwin.io/v1alpha1\nkind: DeviceTwin\nmetadata: {name: press}\nspec: "
	apply := func(manager, spec string) (string, error) {
		return w.kubectl(partOfTwin+spec, "apply", "--server-side", "--field-manager", manager, "-f", "-")
	}
	const plants = "{hubRef: {name: hub}, deviceId: d1, tags: {location: {floor: 2}}}"
	out, err := apply("plant", plants)
	w.Expect(err).NotTo(HaveOccurred(), out)
	out, err = apply("quality", "{tags: {location: {line: 7}}, desired: {intervalSeconds: 30}}")
	w.Expect(err).NotTo(HaveOccurred(), out)
	press := w.named("press")
	w.awaitReady(press)
	w.Expect(w.tags("d1")).To(Equal(`{"location":{"floor":2,"line":7}}`))
	w.Expect(w.desired("d1")).To(Equal(`{"intervalSeconds":30}`))

	out, err = apply("quality", "{tags: {location: {floor: 4, line: 7}}, desired: {intervalSeconds: 30}}")
	w.Expect(err).To(HaveOccurred())
	w.Expect(out).To(And(ContainSubstring(`conflict with "plant"`), ContainSubstring(".spec.tags.location.floor")))

	out, err = apply("quality", "{tags: {location: {line: 8}}}")
	w.Expect(err).NotTo(HaveOccurred(), out)
	w.awaitReady(press)
	w.Expect(w.tags("d1")).To(Equal(`{"location":{"floor":2,"line":8}}`))
	w.Expect(w.desired("d1")).To(Equal(`{}`))
}

// TestPrunedObjectsAreCleanedUp, and those that stay in Git are not touched.
func TestPrunedObjectsAreCleanedUp(t *testing.T) {
	t.Parallel()
	w := newPlant(t)
	const kinds = "--prune-allowlist=iothub.devicetwin.io/v1alpha1/"
	prune := []string{"apply", "--prune", "-l", "app=plant", kinds + "DeviceTwin", kinds + "TwinQuery", "-f", "-"}
	w.mustKubectl(pressInGit+"---"+secondPressInGit+"---"+queryInGit, prune...)
	press, second := w.named("press"), w.named("press-2")
	w.awaitReady(press)
	w.awaitReady(second)
	w.awaitFinalizers([]*v1alpha1.DeviceTwin{press, second}, v1alpha1.DeletionClear)
	w.Expect(w.tags("d2")).To(Equal(`{"plant":"Redmond43"}`))
	kept := w.tags("d1")

	out := w.mustKubectl(pressInGit, prune...)
	w.Expect(out).To(And(ContainSubstring("devicetwin.iothub.devicetwin.io/press-2 pruned"), ContainSubstring("/upstairs pruned")))
	w.awaitGone(second)
	w.Expect(w.tags("d2")).To(Equal(`{}`))
	w.awaitReady(press)
	w.Expect(w.tags("d1")).To(Equal(kept))
}

// TestArgoIgnoresAllThatIsAdded: what is added to an object after its creation, by the
// operator or to have it reconciled at once, is what config/argocd ignores.
func TestArgoIgnoresAllThatIsAdded(t *testing.T) {
	t.Parallel()
	w := newPlant(t)
	created := w.mustKubectl(pressInGit, "create", "-o", "json", "-f", "-")
	press := w.named("press")
	w.awaitReady(press)
	w.awaitFinalizers([]*v1alpha1.DeviceTwin{press}, v1alpha1.DeletionClear)
	w.mustKubectl("", "annotate", "devicetwin", "press", v1alpha1.ReconcileAtAnnotation+"=now", v1alpha1.GuardResetAnnotation+"=now")

	live := w.mustKubectl("", "get", "devicetwin", "press", "-o", "json")
	w.Expect(withoutIgnored(w, live)).NotTo(MatchJSON(withoutIgnored(w, created)), "nothing was added that is ignored")
	ignored := ignoredByArgo(w)
	w.Expect(withoutIgnored(w, live, ignored...)).To(MatchJSON(withoutIgnored(w, created, ignored...)))
}

// ignoredByArgo are the paths of config/argocd.
func ignoredByArgo(w *world) []string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join("..", "config", "argocd", "ignoreDifferences.yaml"))
	w.Expect(err).NotTo(HaveOccurred())
	var ignored struct {
		JSONPointers []string `json:"jsonPointers"`
	}
	w.Expect(yaml.UnmarshalStrict(text, &ignored)).To(Succeed())
	w.Expect(ignored.JSONPointers).NotTo(BeEmpty())
	return ignored.JSONPointers
}

// withoutIgnored is an object without some of its parts, and without metadata that is the
// API server's, which Argo CD never compares.
func withoutIgnored(w *world, text string, paths ...string) string {
	w.Helper()
	var patch []map[string]string
	for _, path := range paths {
		patch = append(patch, map[string]string{"op": "remove", "path": path})
	}
	encoded, err := json.Marshal(patch)
	w.Expect(err).NotTo(HaveOccurred())
	removals, err := jsonpatch.DecodePatch(encoded)
	w.Expect(err).NotTo(HaveOccurred())
	options := jsonpatch.NewApplyOptions()
	options.AllowMissingPathOnRemove = true
	left, err := removals.ApplyWithOptions([]byte(text), options)
	w.Expect(err).NotTo(HaveOccurred())
	obj := &unstructured.Unstructured{}
	w.Expect(obj.UnmarshalJSON(left)).To(Succeed())
	obj.SetResourceVersion("")
	obj.SetGeneration(0)
	obj.SetManagedFields(nil)
	if len(obj.GetAnnotations()) == 0 {
		obj.SetAnnotations(nil)
	}
	left, err = obj.MarshalJSON()
	w.Expect(err).NotTo(HaveOccurred())
	return string(left)
}

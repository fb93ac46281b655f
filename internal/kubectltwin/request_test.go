package kubectltwin_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	iothub "github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// anotherWriter writes to a twin as another back end does.
func (l *live) anotherWriter(device string, patch iothub.Patch) {
	l.Helper()
	connection, err := l.hub.ServiceConnectionString("iothubowner")
	l.Expect(err).NotTo(HaveOccurred())
	session, err := iothub.Open(iothub.Config{ConnectionString: connection, CABundle: l.hub.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"}})
	l.Expect(err).NotTo(HaveOccurred())
	twin, err := session.GetTwin(l.Context(), iothub.ID{Device: device})
	l.Expect(err).NotTo(HaveOccurred())
	_, err = session.PatchTwin(l.Context(), twin.ID, twin.ETag, patch)
	l.Expect(err).NotTo(HaveOccurred())
}

// calls counts what the hub was asked, by operation.
func (l *live) calls(operation string) int { return int(l.hub.Counters().Operations[operation].Calls) }

// leftRequests are the TwinRequests that commands have left behind.
func (l *live) leftRequests() []string {
	l.Helper()
	var list v1alpha1.TwinRequestList
	l.Expect(l.client.List(l.Context(), &list, client.InNamespace(l.ns))).To(Succeed())
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

func TestQuery(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1", "d2", "d3")
	for _, device := range []string{"d1", "d2"} {
		l.anotherWriter(device, iothub.Patch{Tags: map[string]any{"plant": "43", "cost-center": 7, "apiKey": "hunter2hunter2"}, Desired: map[string]any{"n": 1}})
	}
	out := l.ok("query", "tags.plant = '43'", "--select", "tags.[[cost-center]],properties.desired")
	l.Expect(lineOf(out, "ID")).To(Equal("ID TAGS.[[COST-CENTER]] PROPERTIES.DESIRED"))
	l.Expect(lineOf(out, "d2")).To(Equal(`d2 7 {"n":1}`))
	l.Expect(l.ok("query", "tags.plant = '43'", "--hub", "hub", "-o", "name")).To(Equal("d1\nd2\n"))
	l.Expect(l.ok("query", "true = true", "-o", "name", "--limit", "1")).To(Equal("d1\n"))

	r := l.run("query", "tags.plant='43' and tags.[[cost-center]]<=7", "-o", "json", "--explain")
	l.Expect(r.Code).To(Equal(0), r.Err)
	l.Expect(r.Err).To(ContainSubstring("understood:\nAND\n  tags.plant = '43'\n  tags.[[cost-center]] <= 7\n"))
	l.Expect(r.Err).To(ContainSubstring("cost: 1 page, 1 message\n"))
	var answer struct{ Items []map[string]any }
	l.Expect(json.Unmarshal([]byte(r.Out), &answer)).To(Succeed())
	l.Expect(answer.Items).To(HaveLen(2))
	l.Expect(answer.Items[0]).To(HaveKeyWithValue("deviceId", "d1"))
	l.Expect(answer.Items[0]).To(HaveKey("properties"))
	l.Expect(r.Out).NotTo(ContainSubstring("hunter2"))
	l.Expect(l.ok("query", "deviceId = 'd1'", "-o", "yaml", "--show-credentials")).To(ContainSubstring("hunter2"))

	asked := l.calls("query")
	l.Expect(l.refused("query", "tags.plant ==")).To(ContainSubstring("the condition: column 13: = is the comparison: write it once"))
	l.Expect(l.refused("query", "true = true", "--hub", "other")).To(ContainSubstring(`HubConnection "other" does not exist`))
	l.Expect(l.refused("query", "true = true", "--select", "tags,tags.a")).To(ContainSubstring("spec.query.select[1]: "))
	l.Expect(l.leftRequests()).To(BeEmpty())
	l.Expect(asked).To(BeNumerically(">=", 5))

	l.as("asker", rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"twinrequests"}, Verbs: []string{"create", "watch", "delete"},
	})
	l.Expect(l.ok("query", "deviceId = 'd1'", "--hub", "hub", "-o", "name")).To(Equal("d1\n"), "no more rights are needed where the hub is named")
	l.as("reader", rbacv1.PolicyRule{APIGroups: []string{v1alpha1.SchemeGroupVersion.Group}, Resources: []string{"hubconnections"}, Verbs: []string{"get", "list"}})
	l.Expect(l.refused("query", "true = true")).To(ContainSubstring(`cannot create resource "twinrequests"`))
}

// TestQueryOfLargeTwins asks for smaller pages where an answer is too large.
func TestQueryOfLargeTwins(t *testing.T) {
	t.Parallel()
	var devices []string
	for n := range 60 {
		devices = append(devices, fmt.Sprintf("d%02d", n))
	}
	l := newLive(t, nil, devices...)
	large := map[string]any{}
	for n := range 6 {
		large[fmt.Sprintf("k%d", n)] = strings.Repeat("v", 4000)
	}
	for _, device := range devices {
		l.anotherWriter(device, iothub.Patch{Desired: large})
	}
	out := l.ok("query", "true = true", "-o", "json")
	l.Expect(strings.Count(out, `"deviceId"`)).To(Equal(60))
}

func (l *live) file(name, text string) string {
	l.Helper()
	path := filepath.Join(l.TempDir(), name)
	l.Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
	return path
}

const fleet = `
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: d1}
spec: {hubRef: {name: hub}, deviceId: d1, tags: {plant: "44", owner: us}}
---
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: d2}
spec: {hubRef: {name: hub}, deviceId: d2, tags: {plant: "43"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
`

func TestDiff(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1", "d2")
	l.anotherWriter("d1", iothub.Patch{Tags: map[string]any{"plant": "43", "old": true}})
	l.anotherWriter("d2", iothub.Patch{Tags: map[string]any{"plant": "43"}})
	file := l.file("fleet.yaml", fleet)
	patches := l.calls("updateTwin")

	r := l.run("diff", "-f", file)
	l.Expect(r.Code).To(Equal(cluster.ExitFound), r.Err)
	l.Expect(r.Err).To(ContainSubstring("left out: 1 object of other kinds"))
	l.Expect(lineOf(r.Out, "devicetwin/d1")).To(Equal("devicetwin/d1 of " + l.ns + ", device d1: writes, for 1 message"))
	l.Expect(lineOf(r.Out, "tags.plant")).To(Equal(`~ tags.plant: "43" → "44"`))
	l.Expect(lineOf(r.Out, "tags.owner")).To(Equal(`+ tags.owner: "us"`))
	l.Expect(r.Out).To(HaveSuffix("1 of 2 DeviceTwins would write to the hub, for 1 message; 1 in step\n"))
	l.Expect(r.Out).NotTo(ContainSubstring("devicetwin/d2"))
	l.Expect(l.calls("updateTwin")).To(Equal(patches), "nothing is written")

	folder := l.TempDir()
	l.Expect(os.Rename(file, filepath.Join(folder, "fleet.yaml"))).To(Succeed())
	l.Expect(os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte("namePrefix: k-\nresources: [fleet.yaml]\n"), 0o600)).To(Succeed())
	r = l.run("diff", "-k", folder, "-o", "json")
	l.Expect(r.Code).To(Equal(cluster.ExitFound), r.Err)
	var answer struct{ Items []map[string]any }
	l.Expect(json.Unmarshal([]byte(r.Out), &answer)).To(Succeed())
	l.Expect(answer.Items[0]).To(HaveKeyWithValue("name", "k-d1"))
	l.Expect(answer.Items[0]).To(HaveKeyWithValue("patch", map[string]any{"tags": map[string]any{"plant": "44", "owner": "us"}}))

	obj := twin("d2")
	obj.Spec.Tags = raw(`{"plant":"43"}`)
	l.create(obj)
	l.awaitReason(obj, v1alpha1.ReasonSucceeded)
	l.Expect(l.ok("diff", "d2")).To(Equal("0 of 1 DeviceTwin would write to the hub, for 0 messages; 1 in step\n"))
	l.Expect(l.calls("updateTwin")).To(Equal(patches))
	l.Expect(l.ok("diff", "d2", "--show-unchanged")).To(ContainSubstring("writes nothing; Succeeded: the hub holds what is declared"))

	wrong := l.file("wrong.yaml", strings.ReplaceAll(fleet, `plant: "43"`, `plant: null`))
	r = l.run("diff", "-f", wrong)
	l.Expect(r.Code).To(Equal(cluster.ExitError))
	l.Expect(r.Err).To(And(
		ContainSubstring("error: devicetwin/d2 of "+l.ns+": InvalidTwin: spec.plan.spec.tags.plant: Invalid value: null"),
		HaveSuffix("error: of 1 of 2 DeviceTwins it is not known what they would write\n")))
	l.Expect(l.refused("diff", "-f", l.file("odd.yaml", strings.Replace(fleet, "deviceId: d1", "deviceId: d1, tag: {}", 1)))).To(ContainSubstring(`unknown field "spec.tag"`))
	l.Expect(l.refused("diff")).To(ContainSubstring("which DeviceTwins?"))
	l.Expect(l.leftRequests()).To(BeEmpty())
}

// TestImportWritesNothing to the hub when it is applied, whatever the twins hold; and it does the same when it is run again.
func TestImportWritesNothing(t *testing.T) {
	t.Parallel()
	var devices []string
	for n := range 130 {
		devices = append(devices, fmt.Sprintf("line7-%03d", n))
	}
	odd := []string{"Press:7", "press-7", "PRESS:7", "kustomization", "$"}
	l := newLive(t, nil, append(slices.Clone(devices), odd...)...)
	for n, device := range append(slices.Clone(devices), odd...) {
		l.anotherWriter(device, iothub.Patch{
			Tags:    map[string]any{"location": map[string]any{"plant": "43", "no": n, "on": "yes"}, "other": true, "ratio": 0.1},
			Desired: map[string]any{"interval": 1e6, "list": []any{1, "2", map[string]any{"a": 0.5}}, "empty": map[string]any{}, "date": "2026-11-20", "odd": "null"},
		})
	}
	patches := l.calls("updateTwin")
	out := filepath.Join(l.TempDir(), "twins")
	r := l.run("import", "--hub", "hub", "--where", "true = true", "--tags", "location,ratio", "--desired", "--out", out)
	l.Expect(r.Code).To(Equal(0), r.Err)
	l.Expect(r.Err).To(ContainSubstring(fmt.Sprintf("%d files written to %s, 0 the same already", len(devices)+len(odd), out)))
	text, err := os.ReadFile(filepath.Join(out, "line7-000.yaml"))
	l.Expect(err).NotTo(HaveOccurred())
	l.Expect(string(text)).To(MatchYAML(`
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: line7-000}
spec:
  hubRef: {name: hub}
  deviceId: line7-000
  tags: {location: {plant: "43", no: 0, "on": "yes"}, ratio: 0.1}
  desired: {interval: 1000000, list: [1, "2", {a: 0.5}], empty: {}, date: "2026-11-20", odd: "null"}
`))
	again := l.run("import", "--hub", "hub", "--where", "true = true", "--tags", "location,ratio", "--desired", "--out", out)
	l.Expect(again.Err).To(ContainSubstring("0 files written"))
	l.Expect(l.leftRequests()).To(BeEmpty())

	l.Expect(l.ok("diff", "-k", out)).To(HavePrefix("0 of 135 DeviceTwins would write"))
	apply := exec.CommandContext(l.Context(), suite.env.Kubectl(), "--kubeconfig", l.kubeconfig, "--namespace", l.ns, "apply", "-k", out)
	printed, err := apply.CombinedOutput()
	l.Expect(err).NotTo(HaveOccurred(), string(printed))
	l.Eventually(func() (ready int) {
		var list v1alpha1.DeviceTwinList
		l.Expect(l.client.List(l.Context(), &list, client.InNamespace(l.ns))).To(Succeed())
		for i := range list.Items {
			if list.Items[i].Status.Record != "" && list.Items[i].Status.ETag != "" {
				ready++
			}
		}
		return ready
	}, patience).Should(Equal(len(devices) + len(odd)))
	l.Expect(l.calls("updateTwin")).To(Equal(patches), "applying them writes nothing")
}

func TestImportToStandardOutput(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1", "d2")
	l.anotherWriter("d1", iothub.Patch{Tags: map[string]any{"plant": "43"}, Desired: map[string]any{"a": map[string]any{"b": 1, "c": 2}}})
	text := l.ok("import", "--where", "deviceId = 'd1'", "--desired=a.b", "--policy", "Observe", "--labels", "line=7")
	l.Expect(text).To(MatchYAML(`
apiVersion: v1
kind: List
items:
- apiVersion: iothub.devicetwin.io/v1alpha1
  kind: DeviceTwin
  metadata: {name: d1, labels: {line: "7"}}
  spec: {hubRef: {name: hub}, deviceId: d1, policy: Observe, desired: {a: {b: 1}}}
`))
	l.Expect(l.ok("import", "--where", "deviceId = 'no'", "--tags", "*", "-o", "json")).To(MatchJSON(`{"apiVersion":"v1","kind":"List","items":[]}`))
	for want, args := range map[string][]string{
		"which twins?":                      {"--tags", "a"},
		"what is to be declared?":           {"--where", "true = true"},
		"--where: column 1: ":               {"--where", "=", "--tags", "a"},
		"--tags \"a$b\": ":                  {"--where", "true = true", "--tags", "a$b"},
		"--policy \"Maybe\": should be one": {"--where", "true = true", "--tags", "a", "--policy", "Maybe"},
		"--tags and --desired: selects":     {"--where", "true = true", "--tags", "a,a.b"},
	} {
		l.Expect(l.refused(append([]string{"import"}, args...)...)).To(ContainSubstring(want), "%v", args)
	}
}

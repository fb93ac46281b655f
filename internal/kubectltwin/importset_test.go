package kubectltwin_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	iothub "github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// plantOf are three devices of a plant that agree on some leaves, and one of another plant.
func (l *live) plantOf(devices ...string) {
	l.Helper()
	for n, device := range devices {
		l.anotherWriter(device, iothub.Patch{
			Tags: map[string]any{
				"plant": "43", "no": n, "owner": "us", "managedBy": "cluster-a",
				v1alpha1.SetMarkerTag: map[string]any{"other_set": map[string]any{"revision": "0123456789", "wave": "rest"}},
			},
			Desired: map[string]any{"interval": 30, "fan": map[string]any{"speed": n % 2, "on": true}, "empty": map[string]any{}},
		})
	}
	l.anotherWriter(devices[0], iothub.Patch{Tags: map[string]any{"only": true}})
}

// declared reads a manifest of a set as the API server does, and holds it against the rules of admission.
func (l *live) declared(text string) (*v1alpha1.DeviceTwinSet, validation.SetDeclaration) {
	l.Helper()
	obj := &v1alpha1.DeviceTwinSet{}
	l.Expect(yaml.UnmarshalStrict([]byte(text), obj)).To(Succeed())
	obj.Namespace = l.ns
	declaration, errs := validation.DeviceTwinSet(obj)
	l.Expect(errs).To(BeEmpty())
	return obj, declaration
}

// TestImportASet: its manifest is valid, selects the devices that were asked for, and declares what each of them holds already.
func TestImportASet(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1", "d2", "d3", "stranger")
	conn := hub("hub")
	conn.Namespace = l.ns
	l.get(conn)
	before := conn.DeepCopy()
	conn.Spec.OwnerTag = &v1alpha1.OwnerTag{Name: "managedBy", Value: "cluster-a"}
	l.Expect(l.client.Patch(l.Context(), conn, client.MergeFrom(before))).To(Succeed())
	l.plantOf("d1", "d2", "d3")
	patches := l.calls("updateTwin")
	const where = "tags.plant = '43'"
	r := l.run("import", "--where", where, "--tags", "*", "--desired", "--set", "plant-43", "--labels", "line=7")
	l.Expect(r.Code).To(Equal(0), r.Err)
	l.Expect(r.Out).To(MatchYAML(`
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwinSet
metadata: {name: plant-43, labels: {line: "7"}}
spec:
  hubRef: {name: hub}
  selector: {where: "tags.plant = '43'"}
  maxDevices: 4
  template: {tags: {owner: us}, desired: {interval: 30, fan: {on: true}, empty: {}}}
`))
	l.Expect(r.Err).To(Equal("3 twins, for 1 message in 1 page\n" +
		"left out: desired.fan.speed: d1 and d2 differ\n" +
		"left out: tags.no: d1 and d2 differ\n" +
		"left out: tags.only: d1 holds it, d2 does not\n" +
		"left out: tags.plant: --where reads it\n" +
		"the set declares 4 of the leaves of 3 twins, 4 are left out\n"))
	obj, declaration := l.declared(r.Out)
	l.Expect(l.ok("query", declaration.Selector.String(), "-o", "name")).To(Equal("d1\nd2\nd3\n"))
	l.Expect(l.calls("updateTwin")).To(Equal(patches), "import and query write nothing")
	l.Expect(l.leftRequests()).To(BeEmpty())

	key := l.ns + "_plant-43"
	contents := map[string]string{}
	for _, device := range []string{"d1", "d2", "d3", "stranger"} {
		contents[device] = l.content(device, key)
	}
	obj.Spec.Rollout.Success.From = v1alpha1.SuccessFromWritten // no device is there to acknowledge
	l.create(obj)
	r = l.run("rollout", "plant-43", "--watch", "--timeout", "1m")
	l.Expect(r.Code).To(Equal(0), r.Out+r.Err)
	l.Expect(r.Out).To(ContainSubstring("3 selected (at most 4), 3 written"))
	l.Expect(l.calls("updateTwin")).To(Equal(patches + 3))
	for device, held := range contents {
		l.Expect(l.content(device, key)).To(MatchJSON(held), "but for the set's own note %s is as it was", device)
	}
}

// content is what a twin holds, but for the note of one set and for what the hub keeps there itself.
func (l *live) content(device, marker string) string {
	l.Helper()
	var held struct {
		Tags       map[string]any
		Properties struct{ Desired map[string]any }
	}
	l.Expect(json.Unmarshal([]byte(l.held(device)), &held)).To(Succeed())
	if notes, ok := held.Tags[v1alpha1.SetMarkerTag].(map[string]any); ok {
		delete(notes, marker)
	}
	delete(held.Properties.Desired, "$metadata")
	delete(held.Properties.Desired, "$version")
	text, err := json.Marshal(held)
	l.Expect(err).NotTo(HaveOccurred())
	return string(text)
}

func TestImportASetWithOverrides(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1", "d2", "d3")
	l.plantOf("d1", "d2", "d3")
	l.Expect(l.ok("import", "--where", "tags.plant = '43'", "--tags", "owner,no,plant", "--set", "s", "--overrides", "--policy", "Observe")).To(MatchYAML(`
apiVersion: v1
kind: List
items:
- apiVersion: iothub.devicetwin.io/v1alpha1
  kind: DeviceTwinSet
  metadata: {name: s}
  spec: {hubRef: {name: hub}, selector: {where: "tags.plant = '43'"}, maxDevices: 4, policy: Observe, template: {tags: {owner: us}}}
- apiVersion: iothub.devicetwin.io/v1alpha1
  kind: DeviceTwin
  metadata: {name: d1}
  spec: {hubRef: {name: hub}, deviceId: d1, policy: Observe, tags: {no: 0}}
- apiVersion: iothub.devicetwin.io/v1alpha1
  kind: DeviceTwin
  metadata: {name: d2}
  spec: {hubRef: {name: hub}, deviceId: d2, policy: Observe, tags: {no: 1}}
- apiVersion: iothub.devicetwin.io/v1alpha1
  kind: DeviceTwin
  metadata: {name: d3}
  spec: {hubRef: {name: hub}, deviceId: d3, policy: Observe, tags: {no: 2}}
`))
	out := filepath.Join(l.TempDir(), "plant")
	args := []string{"import", "--where", "tags.plant = '43'", "--tags", "owner,only", "--desired=fan", "--set", "d1", "--overrides", "--out", out}
	l.Expect(l.run(args...).Err).To(HaveSuffix("4 files written to " + out + ", 0 the same already\n"))
	l.Expect(l.run(args...).Err).To(HaveSuffix("0 files written to " + out + ", 4 the same already\n"))
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(out, name))
		l.Expect(err).NotTo(HaveOccurred())
		return string(text)
	}
	obj, _ := l.declared(read("devicetwinset_d1.yaml"))
	l.Expect(obj.Name).To(Equal("d1"), "the name of a device as well")
	l.Expect(read("d1.yaml")).To(ContainSubstring("only: true"))
	l.Expect(read("d2.yaml")).NotTo(Or(ContainSubstring("tags"), ContainSubstring("owner")))
	l.Expect(read("kustomization.yaml")).To(ContainSubstring("resources:\n- d1.yaml\n- d2.yaml\n- d3.yaml\n- devicetwinset_d1.yaml\n"))
}

// TestTheMarkerIsNeverImported: it is for the sets alone to write.
func TestTheMarkerIsNeverImported(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1")
	l.plantOf("d1")
	text := l.ok("import", "--where", "deviceId = 'd1'", "--tags", "*")
	l.Expect(text).To(And(ContainSubstring("owner: us"), Not(ContainSubstring(v1alpha1.SetMarkerTag))))
	l.Expect(l.refused("import", "--where", "deviceId = 'd1'", "--tags", "owner,"+v1alpha1.SetMarkerTag+".other_set")).To(
		ContainSubstring("--tags: deviceTwinSets is the tag in which DeviceTwinSets note what they wrote: leave it out"))
}

func TestImportOfASetIsRefused(t *testing.T) {
	t.Parallel()
	l := newLive(t, nil, "d1", "d2")
	l.plantOf("d1", "d2")
	for _, tt := range []struct {
		says string
		args []string
	}{
		{`--set "No.label": `, []string{"--set", "No.label", "--tags", "owner"}},
		{"--overrides are for --set", []string{"--overrides", "--tags", "owner"}},
		{"--set is for devices", []string{"--set", "s", "--tags", "owner", "--from", "devices.modules"}},
		{"leave --limit out", []string{"--set", "s", "--tags", "owner", "--limit", "5"}},
		{"what is to be declared?", []string{"--set", "s"}},
	} {
		l.Expect(l.refused(append([]string{"import", "--where", "tags.plant = '43'"}, tt.args...)...)).To(ContainSubstring(tt.says), "%v", tt.args)
	}
	l.Expect(l.refused("import", "--set", "s", "--tags", "owner", "--where", "is_defined(tags.deviceTwinSets)")).To(
		ContainSubstring("--where reads tags.deviceTwinSets, which the set writes itself"))
	l.Expect(l.run("import", "--set", "s", "--tags", "owner", "--where", "tags.plant = '44'").Err).To(ContainSubstring("error: no twin satisfies --where"))
	r := l.run("import", "--set", "s", "--tags", "no,plant", "--where", "tags.plant = '43'")
	l.Expect(r.Code).To(Equal(cluster.ExitError))
	l.Expect(r.Out).To(BeEmpty())
	l.Expect(r.Err).To(ContainSubstring("error: there is no leaf among --tags and --desired that s would declare: one that each of 2 twins holds alike"))

	many := map[string]any{}
	for n := range 60 {
		many["k"+strconv.Itoa(n)] = n
	}
	l.anotherWriter("d1", iothub.Patch{Tags: many})
	r = l.run("import", "--set", "s", "--tags", "*", "--where", "tags.plant = '43'")
	l.Expect(r.Code).To(Equal(0), r.Err)
	l.Expect(r.Err).To(ContainSubstring("left out: 13 more\n"), "a list that is read")
}

package kubectltwin_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// lineOf is the first line of a text that contains a part, with single blanks.
func lineOf(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return "no line with " + part + " in\n" + text
}

func TestGetComparesLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := twin("thermostat-1")
	obj.Spec.Tags = raw(`{"location":{"plant":"Redmond43"},"owner":"us","stage":"test"}`)
	obj.Spec.Desired = raw(`{"power_level":1,"fan":{"speed":3},"password":"hunter2"}`)
	obj.Spec.Policies = []v1alpha1.PathPolicy{{Path: "tags.owner", Policy: v1alpha1.PolicyYield}, {Path: "tags.stage", Policy: v1alpha1.PolicyObserve}}
	w.create(obj)

	out := w.ok("get", "thermostat-1")
	w.Expect(lineOf(out, "tags.owner")).To(Equal(`? tags.owner "us" unknown -`), "before a controller has looked at it")
	w.Expect(out).To(ContainSubstring("Ready: Unknown: no controller has looked at it yet"))

	w.said(obj, v1alpha1.DeviceTwinStatus{
		ETag: "AAAAAAAAAAI=", Connectivity: "cellular", Connection: &v1alpha1.DeviceConnection{State: v1alpha1.Connected, Since: metav1.Now()},
		Reported: raw(`{"power_level":{"value":1,"ac":406,"av":2,"ad":"too loud"},"fan":{"speed":3}}`),
		Plan:     &v1alpha1.PlannedChange{Changes: 1, Removals: 1, Patch: raw(`{"tags":{"stage":"test","old":null}}`)},
		Conditions: inStep(
			condition(v1alpha1.ConditionDrifted, metav1.ConditionTrue, v1alpha1.ReasonYielded,
				`only observed: tags.stage (declared "test", held nothing); yielded: tags.owner (declared "us", held "them")`),
			condition(v1alpha1.ConditionAcknowledged, metav1.ConditionFalse, v1alpha1.ReasonRejectedByDevice,
				`the device refused desired.power_level with code 406 ("too loud")`)),
	})
	out = w.ok("get", "thermostat-1")
	w.Expect(lineOf(out, "thermostat-1 ")).To(Equal("thermostat-1 device thermostat-1 of hub hub, connected over cellular"))
	w.Expect(lineOf(out, "LEAF")).To(Equal("LEAF DECLARED HUB DEVICE"))
	w.Expect(lineOf(out, "tags.location.plant")).To(Equal(`tags.location.plant "Redmond43" "Redmond43" -`))
	w.Expect(lineOf(out, "tags.owner")).To(Equal(`! tags.owner "us" "them" -`))
	w.Expect(lineOf(out, "tags.stage")).To(Equal(`! tags.stage "test" - -`))
	w.Expect(lineOf(out, "tags.old")).To(Equal(`! tags.old - differs (to be deleted) -`))
	w.Expect(lineOf(out, "desired.power_level")).To(Equal(`! desired.power_level 1 1 1 (code 406, "too loud")`))
	w.Expect(lineOf(out, "desired.fan.speed")).To(Equal(`desired.fan.speed 3 3 3`))
	w.Expect(lineOf(out, "desired.password")).To(ContainSubstring("(a value that looks like a credential)"))
	w.Expect(out).NotTo(ContainSubstring("hunter2"))
	w.Expect(out).NotTo(ContainSubstring("\x1b"), "no colors but on a terminal")
	w.Expect(w.ok("get", "thermostat-1", "--differing")).NotTo(ContainSubstring("desired.fan.speed"))
	w.Expect(w.run("get", "thermostat-1", "--exit-code").Code).To(Equal(cluster.ExitFound))
}

func TestGetSelects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		obj := twin(name)
		obj.Labels = map[string]string{"line": name}
		if name == "c" {
			obj.Spec.HubRef.Name = "other"
		}
		w.create(obj)
	}
	const prefix = "devicetwin.iothub.devicetwin.io/"
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"", []string{"a", "b", "c"}},
		{"b devicetwin/a", []string{"b", "a"}},
		{"-l line=b", []string{"b"}},
		{"--field-selector spec.deviceId=c", []string{"c"}},
		{"--hub hub", []string{"a", "b"}},
		{"--hub " + w.ns + "/hub -A", []string{"a", "b"}},
		{"--hub nowhere/hub", nil},
	} {
		var want strings.Builder
		for _, name := range tt.want {
			want.WriteString(prefix + name + "\n")
		}
		w.Expect(w.ok(append([]string{"get", "-o", "name"}, strings.Fields(tt.args)...)...)).To(Equal(want.String()), tt.args)
	}
	r := w.run("get", "-l", "line=none")
	w.Expect(r).To(Equal(result{Err: "no DeviceTwin in namespace " + w.ns + " is selected\n"}))
	var printed struct {
		Items []struct {
			Name   string
			Leaves []struct {
				Path      string
				Hub       struct{ State string }
				Uncertain bool
			}
		}
	}
	w.Expect(json.Unmarshal([]byte(w.ok("get", "a", "-o", "json")), &printed)).To(Succeed())
	w.Expect(printed.Items).To(HaveLen(1))
	w.Expect(printed.Items[0].Leaves).To(HaveLen(1))
	w.Expect(printed.Items[0].Leaves[0].Hub.State).To(Equal("Unknown"))
	w.Expect(w.ok("get", "a", "-o", "yaml")).To(HavePrefix("items:\n"))
}

func TestGetRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create(twin("a"))
	for _, tt := range []struct{ args, says string }{
		{"get missing", `"missing" not found`},
		{"get a -l x=y", "not both"},
		{"get -l =", "--selector"},
		{"get --field-selector spec.tags=1", "field label not supported"},
		{"get a -o table", "should be one of json, yaml, name, wide"},
		{"get a --watch -o json", "--watch shows tables"},
		{"get pod/a", "should be the name of a DeviceTwin"},
		{"get a --nonsense", "unknown flag: --nonsense"},
		{"nonsense", "unknown command"},
		{"--kubeconfig /nowhere/config get a", "/nowhere/config: no such file"},
		{"--server https://127.0.0.1:1 get a", "the API server does not answer"},
		{"--context nowhere get a", `context "nowhere" does not exist`},
	} {
		w.Expect(w.refused(strings.Fields(tt.args)...)).To(ContainSubstring(tt.says), tt.args)
	}
	w.as("stranger", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}})
	w.Expect(w.refused("get", "a")).To(ContainSubstring("cannot get resource"))
	w.Expect(w.refused("get")).To(ContainSubstring("cannot list resource"))
}

func TestGetWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	obj := twin("a")
	w.create(obj)
	ctx, cancel := context.WithCancel(w.Context())
	out, ended := gbytes.NewBuffer(), make(chan result, 1)
	go func() { ended <- w.runWith(ctx, out, "get", "a", "--watch") }()
	w.Eventually(out.Contents, patience).Should(ContainSubstring("no controller has looked"))
	w.said(obj, v1alpha1.DeviceTwinStatus{Conditions: inStep()})
	w.Eventually(out.Contents, patience).Should(ContainSubstring("Ready: True (Succeeded)"))
	w.Expect(w.client.Delete(w.Context(), obj)).To(Succeed())
	w.Eventually(out.Contents, patience).Should(ContainSubstring("devicetwin/a is deleted"))
	cancel()
	w.Eventually(ended, patience).Should(Receive(HaveField("Code", 0)))
}

func TestNamesAreCompleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"thermostat-1", "thermostat-2", "pump"} {
		w.create(twin(name))
	}
	w.create(hub("factory"))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"get", "therm"}, "thermostat-1\nthermostat-2\n:4\n"},
		{[]string{"get", "thermostat-1", "therm"}, "thermostat-2\n:4\n"},
		{[]string{"status", ""}, "factory\n:4\n"},
		{[]string{"suspend", "--hub", ""}, "factory\n:4\n"},
		{[]string{"get", "-n", w.ns}, w.ns + "\n:4\n"},
		{[]string{"get", "-o", ""}, "json\nyaml\nname\nwide\n:4\n"},
		{[]string{"suspend", "--dry-run="}, "none\nclient\nserver\n:4\n"},
	} {
		// What completion is asked for follows its flags.
		r := w.run(append([]string{"__complete", "--kubeconfig", w.kubeconfig, "--namespace", w.ns}, tt.args...)...)
		w.Expect(r.Out).To(Equal(tt.want), strings.Join(tt.args, " "))
	}
	w.Expect(w.ok("completion", "bash")).To(ContainSubstring("kubectl-twin"))
}

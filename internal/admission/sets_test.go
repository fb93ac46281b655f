package admission_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// set is one that keeps all rules.
func (w *world) set(namespace string) *v1alpha1.DeviceTwinSet {
	obj := &v1alpha1.DeviceTwinSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "presses"}}
	obj.Spec.HubRef.Name, obj.Spec.MaxDevices = "hub", 100
	obj.Spec.Selector.Where = "tags.kind = 'press'"
	obj.Spec.Template.Tags = raw(`{"firmwareRing":"stable"}`)
	return obj
}

// TestTheSchemaOfSets: what the API server refuses by itself, each with its field and rule.
func TestTheSchemaOfSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	waves := func(waves ...v1alpha1.SetWave) func(*v1alpha1.DeviceTwinSet) {
		return func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Rollout.Waves = waves }
	}
	for name, tt := range map[string]struct {
		edit func(*v1alpha1.DeviceTwinSet)
		want string
	}{
		"all is well":      {edit: func(*v1alpha1.DeviceTwinSet) {}},
		"waves":            {edit: waves(v1alpha1.SetWave{Name: "a", Percent: 60}, v1alpha1.SetWave{Name: "b", Where: "tags.a = 1"}, v1alpha1.SetWave{Name: "c", Percent: 40})},
		"an empty where":   {waves(v1alpha1.SetWave{Name: "a"}), "spec.rollout.waves[0]: Invalid value: exactly one of where and percent is required"},
		"where as well":    {waves(v1alpha1.SetWave{Name: "a", Percent: 1, Where: "tags.a = 1"}), "spec.rollout.waves[0]: Invalid value: exactly one of where and percent is required"},
		"too many percent": {waves(v1alpha1.SetWave{Name: "a", Percent: 101}), "spec.rollout.waves[0].percent: Invalid value: 101: "},
		"below zero":       {waves(v1alpha1.SetWave{Name: "a", Percent: -1}), "spec.rollout.waves[0].percent: Invalid value: -1: "},
		"a sum of 101": {waves(v1alpha1.SetWave{Name: "a", Percent: 60}, v1alpha1.SetWave{Name: "b", Percent: 41}),
			"spec.rollout.waves: Invalid value: the percentages of waves are more than 100 together; what is left is the wave rest"},
		"one name twice": {waves(v1alpha1.SetWave{Name: "a", Percent: 1}, v1alpha1.SetWave{Name: "a", Percent: 2}), `spec.rollout.waves[1]: Duplicate value: {"name":"a"}`},
		"called rest":    {waves(v1alpha1.SetWave{Name: "rest", Percent: 1}), "spec.rollout.waves[0].name: Forbidden: is the name of the wave that takes what is left"},
		"a soak of months": {func(obj *v1alpha1.DeviceTwinSet) {
			obj.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "a", Percent: 1, Soak: metav1.Duration{Duration: 721 * 3600e9}}}
		}, `spec.rollout.waves[0].soak: Invalid value: "721h0m0s": must be at most 720h`},
		"no selector": {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Selector = v1alpha1.SetSelector{} }, "spec.selector: "},
		"both": {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Selector.DeviceIDs = []string{"a"} },
			"spec.selector: Invalid value: exactly one of where and deviceIds is required"},
		"no bound":              {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.MaxDevices = 0 }, "spec.maxDevices: "},
		"a bound above a hub":   {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.MaxDevices = 1_000_001 }, "spec.maxDevices: "},
		"a name with a dot":     {func(obj *v1alpha1.DeviceTwinSet) { obj.Name = "line.3" }, "must be a DNS label"},
		"a name that is long":   {func(obj *v1alpha1.DeviceTwinSet) { obj.Name = strings.Repeat("l", 64) }, "must be a DNS label"},
		"a name of 63":          {edit: func(obj *v1alpha1.DeviceTwinSet) { obj.Name = strings.Repeat("l", 63) }},
		"a generated name":      {edit: func(obj *v1alpha1.DeviceTwinSet) { obj.Name, obj.GenerateName = "", "line-" }},
		"an interval too short": {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Interval.Duration = 1e9 }, `spec.interval: Invalid value: "1s": must be from 5s to 24h`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			obj := w.set(w.off)
			tt.edit(obj)
			err := w.client.Create(t.Context(), obj, client.DryRunAll)
			if tt.want == "" {
				w.Expect(err).NotTo(HaveOccurred())
				w.Expect(obj.Spec.Rollout.Success).To(Equal(v1alpha1.RolloutSuccess{From: "Acknowledged", Percent: 95, Within: metav1.Duration{Duration: 30 * 60e9}}))
				w.Expect(obj.Status.ObservedGeneration).To(BeEquivalentTo(-1))
				return
			}
			w.Expect(err).To(MatchError(ContainSubstring(tt.want)))
		})
	}
	obj := w.set(w.off)
	obj.Name = "moved"
	w.create(obj)
	moved := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"hubRef":{"name":"other"}}}`))
	w.Expect(w.client.Patch(t.Context(), obj, moved)).To(MatchError(ContainSubstring("spec.hubRef: Forbidden: hubRef is immutable: create another DeviceTwinSet")))
}

// TestBadSets are refused in the words of the rules, on create and on update, and the controller
// reports the same of what no webhook was asked about.
func TestBadSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	for name, tt := range map[string]struct {
		edit func(*v1alpha1.DeviceTwinSet)
		want string
	}{
		"condition": {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Selector.Where = "tags.plant = 'a' AND" },
			"spec.selector.where: Invalid value: column 21: expected a property, a constant or a function, found the end of the text"},
		"blank": {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Selector.Where = " " },
			"spec.selector.where: Invalid value: the condition is empty; one that every device satisfies is written deviceId != ''"},
		"wave": {func(obj *v1alpha1.DeviceTwinSet) {
			obj.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "a", Where: "tags.a" + " ="}}
		},
			"spec.rollout.waves[0].where: Invalid value: column 9: expected a property, a constant or a function, found the end of the text"},
		"read and written": {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Selector.Where = "NOT (tags.firmwareRing = 'stable')" },
			"spec.selector.where: Invalid value: reads tags.firmwareRing, and the set writes tags.firmwareRing: " +
				"a device would be selected by what is written to it; select by something that the set does not write"},
		"room": {func(obj *v1alpha1.DeviceTwinSet) {
			obj.Spec.Template.Tags = raw(`{"aa":"` + strings.Repeat("v", 4094) + `","bb":"` + strings.Repeat("v", 4090) + `"}`)
		}, "at most 8192 is allowed; that includes what the set notes in the tag deviceTwinSets"},
		"null": {func(obj *v1alpha1.DeviceTwinSet) { obj.Spec.Template.Desired = raw(`{"a":null}`) },
			"spec.template.desired.a: Invalid value: null; IoT Hub stores no null: leave the key out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := w.in(t)
			bad := w.set(w.on)
			bad.Name, bad.GenerateName = "", "bad-"
			tt.edit(bad)
			err := w.client.Create(t.Context(), bad)
			w.Expect(causes(err)).To(ConsistOf(ContainSubstring(tt.want)))
			w.Expect(err.Error()).To(ContainSubstring("denied the request"))

			obj := w.set(w.on)
			obj.Name, obj.GenerateName = "", "good-"
			w.create(obj)
			w.Eventually(func() []string { // again where the controller wrote in between
				w.Expect(w.client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
				tt.edit(obj)
				return causes(w.client.Update(t.Context(), obj))
			}, patience).Should(ConsistOf(ContainSubstring(tt.want)))

			admitted := w.set(w.off)
			admitted.Name, admitted.GenerateName = "", "bad-"
			tt.edit(admitted)
			w.create(admitted)
			why := w.stalled(admitted)
			w.Expect(why.Reason).To(Equal(v1alpha1.ReasonInvalidSet))
			w.Expect(why.Message).To(ContainSubstring(tt.want))
		})
	}
}

// TestDoubtsAboutSets are warnings.
func TestDoubtsAboutSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	w.warnings.taken()
	obj := w.set(w.on)
	obj.Spec.Selector.Where = "tag.kind = 'press'"
	obj.Spec.Policy = v1alpha1.PolicyObserve
	w.create(obj)
	w.Expect(w.warnings.taken()).To(Equal([]string{
		"spec.selector.where: tag.kind is in no twin: there is no tag at its root; tags are under tags, properties under properties.desired and properties.reported",
		"spec.template: nothing of it is ever written, but for what the set notes in the tag deviceTwinSets",
	}))
}

// TestTheSetsTagIsReserved for what they note themselves.
func TestTheSetsTagIsReserved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.startManager(true)
	w.Expect(causes(w.client.Create(t.Context(), w.twin(w.on, "bad", `{"deviceTwinSets":{}}`, "")))).To(Equal([]string{
		"spec.tags.deviceTwinSets: Invalid value: the tag in which DeviceTwinSets note what they wrote; leave it out",
	}))
	conn := w.connection(w.on, "bad")
	conn.Spec.OwnerTag = &v1alpha1.OwnerTag{Name: "deviceTwinSets", Value: "a"}
	w.Expect(w.client.Create(t.Context(), conn)).To(MatchError(ContainSubstring("spec.ownerTag.name: Forbidden: is the tag in which DeviceTwinSets note what they wrote")))
}

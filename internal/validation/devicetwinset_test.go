package validation_test

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// line3 is a set that keeps all rules.
func line3() *v1alpha1.DeviceTwinSet {
	set := &v1alpha1.DeviceTwinSet{}
	set.Namespace, set.Name = "factory", "line-3"
	set.Spec.Selector.Where = "tags.location.plant = 'Redmond43'"
	set.Spec.MaxDevices = 100
	set.Spec.Template.Tags = raw(`{"firmwareRing":"stable"}`)
	set.Spec.Template.Desired = raw(`{"telemetryInterval":30}`)
	set.Spec.Rollout.Waves = []v1alpha1.SetWave{{Name: "canary", Where: "tags.ring = 'canary'"}, {Name: "tenth", Percent: 10}}
	return set
}

func TestDeviceTwinSetIsRead(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	declared, errs := validation.DeviceTwinSet(line3())
	g.Expect(errs).To(BeEmpty())
	g.Expect(declared.Tags).To(Equal(map[string]any{"firmwareRing": "stable"}), "without the marker")
	g.Expect(declared.Selector.String()).To(Equal("tags.location.plant = 'Redmond43'"))
	g.Expect(declared.Waves).To(HaveLen(3))
	g.Expect(declared.Waves[0].Condition.String()).To(Equal("tags.ring = 'canary'"))
	g.Expect(declared.Waves[2].Name).To(Equal("rest"))
	g.Expect(validation.DeviceTwinSetDoubts(declared)).To(BeEmpty())

	set := line3()
	set.Spec.Selector = v1alpha1.SetSelector{DeviceIDs: []string{"press-1", "it's"}}
	declared, errs = validation.DeviceTwinSet(set)
	g.Expect(errs).To(BeEmpty())
	g.Expect(declared.Selector.String()).To(Equal(`deviceId IN ['press-1', "it's"]`))
	g.Expect(validation.DeviceTwinSetDoubts(declared)).To(BeEmpty())

	set.Name, set.GenerateName = "", "line-"
	_, errs = validation.DeviceTwinSet(set)
	g.Expect(errs).To(BeEmpty(), "its name is yet to be generated")
}

// TestDeviceTwinSetRules: each rule that can be told from the object alone has words of its own.
func TestDeviceTwinSetRules(t *testing.T) {
	t.Parallel()
	const reads = ": a device would be selected by what is written to it; select by something that the set does not write"
	for name, tt := range map[string]struct {
		edit func(*v1alpha1.DeviceTwinSetSpec)
		want string
	}{
		"neither where nor deviceIds": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Selector.Where = "" },
			want: "spec.selector: Invalid value: exactly one of where and deviceIds is required",
		},
		"both": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Selector.DeviceIDs = []string{"press-1"} },
			want: "spec.selector: Invalid value: exactly one of where and deviceIds is required",
		},
		"an empty condition": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Selector.Where = " \n" },
			want: "spec.selector.where: Invalid value: the condition is empty; one that every device satisfies is written deviceId != ''",
		},
		"a malformed condition": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Selector.Where = "tags.plant = '" + secret + "' AND" },
			want: "spec.selector.where: Invalid value: column 27: expected a property, a constant or a function, found the end of the text",
		},
		"malformed conditions of waves": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) {
				s.Rollout.Waves = []v1alpha1.SetWave{{Name: "a", Where: "tags.plant = 'x' LIMIT 10"}, {Name: "b", Where: "\t"}}
			},
			want: "spec.rollout.waves[0].where: Invalid value: column 18: LIMIT is not part of IoT Hub's query language; " +
				"spec.rollout.waves[1].where: Invalid value: the condition is empty; one that every device satisfies is written deviceId != ''",
		},
		"a wave with both, and one with neither": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) {
				s.Rollout.Waves = []v1alpha1.SetWave{{Name: "a", Where: "tags.b = 1", Percent: 5}, {Name: "b"}}
			},
			want: "spec.rollout.waves[0]: Invalid value: exactly one of where and percent is required; " +
				"spec.rollout.waves[1]: Invalid value: exactly one of where and percent is required",
		},
		"two waves of one name": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Rollout.Waves[1].Name = "canary" },
			want: `spec.rollout.waves[1].name: Duplicate value: "canary"`,
		},
		"a wave called rest": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Rollout.Waves[1].Name = "rest" },
			want: "spec.rollout.waves[1].name: Invalid value: is the name of the wave that takes what is left",
		},
		"more than a hundred percent": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) {
				s.Rollout.Waves = []v1alpha1.SetWave{{Name: "a", Percent: 60}, {Name: "b", Percent: 41}}
			},
			want: "spec.rollout.waves: Invalid value: the percentages of waves are 101 together; at most 100 are allowed, and what is left is the wave rest",
		},
		"a template that the hub refuses": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) {
				s.Template.Tags, s.Template.Desired = raw(`{"a":null}`), raw(`{"b.c":"`+secret+`"}`)
			},
			want: "spec.template.tags.a: Invalid value: null; IoT Hub stores no null: leave the key out; " +
				`spec.template.desired["b.c"]: Invalid value: a key with the character '.'; IoT Hub allows no control character, '.', '$', '#' or space in keys`,
		},
		"the sets' own tag": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Template.Tags = raw(`{"deviceTwinSets":{}}`) },
			want: "spec.template.tags.deviceTwinSets: Invalid value: the tag in which DeviceTwinSets note what they wrote; leave it out",
		},
		"a path of a policy": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Policies = []v1alpha1.PathPolicy{{Path: "reported.a"}} },
			want: `spec.policies[0].path: Invalid value: begins with "reported": it should begin with tags or desired`,
		},
		"policies of the sets' own tag": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) {
				s.Policy = v1alpha1.PolicyObserve
				s.Policies = []v1alpha1.PathPolicy{
					{Path: "tags", Policy: v1alpha1.PolicyYield}, {Path: "tags.deviceTwinSets"}, {Path: "tags.deviceTwinSets.factory_line-3.wave"}, {Path: "desired.deviceTwinSets"},
				}
			},
			want: "spec.policies[1].path: Invalid value: leads to the tag in which DeviceTwinSets note what they wrote; leave it out; " +
				"spec.policies[2].path: Invalid value: leads to the tag in which DeviceTwinSets note what they wrote; leave it out",
		},
		"a selector that reads a tag of the template": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Selector.Where += " AND tags.firmwareRing != 'stable'" },
			want: "spec.selector.where: Invalid value: reads tags.firmwareRing, and the set writes tags.firmwareRing" + reads,
		},
		"above": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Template.Tags = raw(`{"location":{"plant":"x","hall":1}}`) },
			want: "spec.selector.where: Invalid value: reads tags.location.plant, and the set writes tags.location.plant" + reads,
		},
		"below": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) { s.Template.Tags = raw(`{"location":"here"}`) },
			want: "spec.selector.where: Invalid value: reads tags.location.plant, and the set writes tags.location" + reads,
		},
		"waves that read the template": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) {
				s.Rollout.Waves = []v1alpha1.SetWave{
					{Name: "a", Where: "IS_DEFINED(properties.desired)"}, {Name: "b", Percent: 3}, {Name: "c", Where: "properties.desired.telemetryInterval = 10"},
				}
			},
			want: "spec.rollout.waves[0].where: Invalid value: reads properties.desired, and the set writes desired.telemetryInterval" + reads +
				"; spec.rollout.waves[2].where: Invalid value: reads properties.desired.telemetryInterval, and the set writes desired.telemetryInterval" + reads,
		},
		"a selector that reads the set's own notes": {
			edit: func(s *v1alpha1.DeviceTwinSetSpec) {
				s.Selector.Where = "NOT IS_DEFINED(tags.deviceTwinSets.[[factory_line-3]])"
			},
			want: "spec.selector.where: Invalid value: reads tags.deviceTwinSets.[[factory_line-3]], and the set writes tags.deviceTwinSets.factory_line-3.revision" + reads,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			set := line3()
			tt.edit(&set.Spec)
			_, errs := validation.DeviceTwinSet(set)
			g.Expect(validation.Text(errs)).To(Equal(tt.want))
		})
	}
}

// TestDeviceTwinSetNames: a name stands in the twins, where a dot would be a step further.
func TestDeviceTwinSetNames(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, name := range []string{"line.3", "line_3", strings.Repeat("l", 64)} {
		set := line3()
		set.Name = name
		_, errs := validation.DeviceTwinSet(set)
		g.Expect(errs).To(HaveLen(1), name)
		g.Expect(errs[0].Error()).To(HavePrefix("metadata.name: Invalid value: "))
	}
	set := line3()
	set.Name = strings.Repeat("l", 63)
	_, errs := validation.DeviceTwinSet(set)
	g.Expect(errs).To(BeEmpty())
}

// full are tags of a size by the hub's accounting.
func full(size int) string {
	return `{"aa":"` + strings.Repeat("v", 4094) + `","bb":"` + strings.Repeat("v", size-4098) + `"}`
}

// TestDeviceTwinSetLeavesRoom: the marker of the longest wave, and the owner tag beside it.
func TestDeviceTwinSetLeavesRoom(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	marker := len("deviceTwinSets") + len("factory_line-3") + len("revision") + 10 + len("wave") + len("a-wave-with-a-long-name")
	owner := &v1alpha1.OwnerTag{Name: "managedBy", Value: "plant-a"}
	set := line3()
	set.Spec.Rollout.Waves = append(set.Spec.Rollout.Waves, v1alpha1.SetWave{Name: "a-wave-with-a-long-name", Percent: 1})
	read := func(size int) (validation.SetDeclaration, string) {
		set.Spec.Template.Tags = raw(full(size))
		declared, errs := validation.DeviceTwinSet(set)
		return declared, validation.Text(errs)
	}
	_, errs := read(8192 - marker + 1)
	g.Expect(errs).To(Equal("spec.template.tags: Invalid value: a size of 8193 by IoT Hub's accounting; at most 8192 is allowed; " +
		"that includes what the set notes in the tag deviceTwinSets"))
	declared, errs := read(8192 - marker)
	g.Expect(errs).To(BeEmpty())
	g.Expect(validation.SetWithOwner(&declared, nil)).To(BeEmpty())
	g.Expect(validation.Text(validation.SetWithOwner(&declared, owner))).To(Equal(fmt.Sprintf(
		"spec.template.tags: Invalid value: a size of %d by IoT Hub's accounting; at most 8192 is allowed; that includes the owner tag of the HubConnection, "+
			"spec.ownerTag, and what the set notes in the tag deviceTwinSets", 8192+len("managedBy")+len("plant-a"))))
	declared, errs = read(8192 - marker - len("managedBy") - len("plant-a"))
	g.Expect(errs).To(BeEmpty())
	g.Expect(validation.SetWithOwner(&declared, owner)).To(BeEmpty())
	g.Expect(declared.Tags).To(HaveKeyWithValue("managedBy", "plant-a"))
	g.Expect(declared.Tags).NotTo(HaveKey("deviceTwinSets"))

	set.Spec.Template.Tags = raw(`{"managedBy":"me"}`)
	declared, wrong := validation.DeviceTwinSet(set)
	g.Expect(wrong).To(BeEmpty())
	g.Expect(validation.Text(validation.SetWithOwner(&declared, owner))).To(Equal(
		"spec.template.tags.managedBy: Invalid value: the owner tag of the HubConnection, spec.ownerTag.name; leave it out"))
}

// TestDeviceTwinSetAsItIsAsked: all conditions of a set stand in one query, and ids in a list.
func TestDeviceTwinSetAsItIsAsked(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const want = "spec: Invalid value: selector and waves take a query of %d characters; IoT Hub takes at most 8192: use shorter conditions, or list fewer devices"
	set := line3()
	set.Spec.Rollout.Waves = nil
	for i := range 5 {
		set.Spec.Rollout.Waves = append(set.Spec.Rollout.Waves, v1alpha1.SetWave{Name: fmt.Sprintf("w%d", i), Where: "tags.a = '" + strings.Repeat("x", 1500) + "'"})
	}
	_, errs := validation.DeviceTwinSet(set)
	g.Expect(errs).To(BeEmpty())
	set.Spec.Rollout.Waves[4].Where = "tags.a = '" + strings.Repeat("x", 1990) + "'"
	_, errs = validation.DeviceTwinSet(set)
	g.Expect(validation.Text(errs)).To(MatchRegexp("^" + strings.Replace(want, "%d", "8[2-9][0-9]{2}", 1)))

	set = line3()
	set.Spec.Selector = v1alpha1.SetSelector{}
	for i := range 100 {
		set.Spec.Selector.DeviceIDs = append(set.Spec.Selector.DeviceIDs, fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 60)))
	}
	_, errs = validation.DeviceTwinSet(set)
	g.Expect(errs).To(BeEmpty())
	for i := range 100 {
		set.Spec.Selector.DeviceIDs[i] = fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 124))
	}
	_, errs = validation.DeviceTwinSet(set)
	g.Expect(validation.Text(errs)).To(HavePrefix("spec: Invalid value: selector and waves take a query of "))

	// A template of any size that a twin takes is asked about in as many queries as it needs.
	set = line3()
	members := make([]string, 300)
	for i := range members {
		members[i] = fmt.Sprintf(`"setting-%d":"%s"`, i, strings.Repeat("x", 90))
	}
	set.Spec.Template.Desired = raw("{" + strings.Join(members, ",") + "}")
	_, errs = validation.DeviceTwinSet(set)
	g.Expect(errs).To(BeEmpty())
}

func TestDeviceTwinSetDoubts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	set := line3()
	set.Spec.Selector.Where = "tag.plant = 'x'"
	set.Spec.Rollout.Waves[0].Where = "version = '3' OR tags.a = 1"
	set.Spec.Template.Tags, set.Spec.Template.Desired = nil, nil
	set.Spec.Policies = []v1alpha1.PathPolicy{{Path: "tags.b", Policy: v1alpha1.PolicyYield}}
	_, errs := validation.DeviceTwinSet(set)
	g.Expect(errs).To(HaveLen(1), "the version moves with each write")
	set.Spec.Rollout.Waves[0].Where = "status = 3 OR tags.a = 1"
	declared, errs := validation.DeviceTwinSet(set)
	g.Expect(errs).To(BeEmpty())
	g.Expect(validation.DeviceTwinSetDoubts(declared)).To(Equal([]string{
		"spec.selector.where: tag.plant is in no twin: there is no tag at its root; tags are under tags, properties under properties.desired and properties.reported",
		"spec.rollout.waves[0].where: a comparison of status (a string) with a number is never true: they have different types",
		"spec.template: nothing of it is ever written, but for what the set notes in the tag deviceTwinSets",
		"spec.policies[0].path: nothing is declared at or below it",
	}))
}

// TestDeviceTwinsLeaveTheSetsTagAlone: a set would take it for its own note.
func TestDeviceTwinsLeaveTheSetsTagAlone(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	twin := &v1alpha1.DeviceTwin{}
	twin.Spec.Tags = raw(`{"deviceTwinSets":{"factory_line-3":{"revision":"x"}}}`)
	_, errs := validation.DeviceTwin(twin)
	g.Expect(validation.Text(errs)).To(Equal(
		"spec.tags.deviceTwinSets: Invalid value: the tag in which DeviceTwinSets note what they wrote; leave it out"))
	twin.Spec.Tags, twin.Spec.Desired = nil, raw(`{"deviceTwinSets":1}`)
	_, errs = validation.DeviceTwin(twin)
	g.Expect(errs).To(BeEmpty(), "a desired property of that name is none of theirs")
}

package reference

import (
	"testing"

	. "github.com/onsi/gomega"
)

const setKey = "ns_s1"

var (
	plant    = At("tags", "plant")
	interval = At("desired", "interval")
)

// aFleet is one of four connected devices, of which a set selects three.
func aFleet(change func(*SetSpec)) *Fleet {
	content := map[string]Leaves{"r1": {interval: "30"}, "r2": {interval: "31"}, "r3": {interval: "32"}}
	f := NewFleet(func(_, revision string) (Leaves, bool) {
		found, ok := content[revision]
		return found, ok
	})
	for _, device := range []string{"d1", "d2", "d3", "d4"} {
		f.Register(device)
		f.Connect(device, true)
	}
	spec := SetSpec{Leaves: content["r1"], Where: Where{Path: plant, Value: "43"}, MaxInFlight: 2, Judged: true}
	if change != nil {
		change(&spec)
	}
	f.Declare(setKey, "1", spec)
	return f
}

// written is a twin of plant 43 that got a revision, in a wave.
func written(device, revision, wave string, before Leaves) Write {
	after := before.Apply(Patch{Set: Marker{Revision: revision, Wave: wave}.leaves(setKey)})
	after[interval] = map[string]string{"r1": "30", "r2": "31", "r3": "32"}[revision]
	return Write{Device: device, Before: before, After: after}
}

func selected() Leaves { return Leaves{plant: "43"} }

func TestAFleetJudgesHowManyAreInFlight(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	f := aFleet(nil)
	g.Expect(f.Wrote(written("d1", "r1", "rest", selected()))).To(Succeed())
	second := written("d2", "r1", "rest", selected())
	g.Expect(f.Wrote(second)).To(Succeed())
	third := written("d3", "r1", "rest", selected())
	g.Expect(f.Wrote(third)).To(MatchError(ContainSubstring("3 devices are in flight")))
	for name, settled := range map[string]func(*Fleet){
		"answered": func(f *Fleet) { f.Report("d2", second.After, true) },
		"refused":  func(f *Fleet) { f.Report("d2", second.After, false) },
		"offline":  func(f *Fleet) { f.Connect("d2", false) },
		"unmarked": func(f *Fleet) { f.Changed("d2", second.After, selected()) },
	} {
		f := aFleet(nil)
		g.Expect(f.Wrote(written("d1", "r1", "rest", selected()))).To(Succeed())
		g.Expect(f.Wrote(second)).To(Succeed())
		settled(f)
		g.Expect(f.Wrote(third)).To(Succeed(), name)
	}
}

func TestAFleetJudgesWhatIsWritten(t *testing.T) {
	t.Parallel()
	elsewhere := Leaves{plant: "44"}
	foreign := written("d1", "r1", "rest", selected())
	foreign.After[At("tags", "theirs")] = "1"
	gone := written("d1", "r1", "rest", selected())
	cleared := Write{Device: "d1", Before: gone.After, After: selected()}
	ring := At("tags", "ring")
	canary := Leaves{plant: "43", ring: "1"}
	waves := []Wave{{Name: "canary", Where: &Where{Path: ring, Value: "1"}, Approve: true}}
	for name, tt := range map[string]struct {
		change func(*SetSpec)
		write  Write
		want   string
	}{
		"outside of the selector": {write: written("d4", "r1", "rest", elsewhere), want: "does not select"},
		"paused":                  {change: func(s *SetSpec) { s.Still = true }, write: written("d1", "r1", "rest", selected()), want: "paused or suspended"},
		"another leaf":            {write: foreign, want: "would be written differently"},
		"an undeclared revision":  {write: written("d1", "r2", "rest", selected()), want: "was never declared"},
		"no such revision":        {write: written("d1", "r9", "rest", selected()), want: "there is no revision"},
		"selected, and cleared":   {write: cleared, want: "it selects the device"},
		"another wave":            {change: func(s *SetSpec) { s.Waves = waves }, write: written("d1", "r1", "rest", canary), want: "belongs to wave canary"},
		"without approval":        {change: func(s *SetSpec) { s.Waves = waves }, write: written("d1", "r1", "rest", selected()), want: "was not approved"},
		"a wave that is not its":  {change: func(s *SetSpec) { s.Waves = waves }, write: written("d1", "r1", "canary", selected()), want: "does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			NewWithT(t).Expect(aFleet(tt.change).Wrote(tt.write)).To(MatchError(ContainSubstring(tt.want)))
		})
	}
}

func TestAFleetAllowsWhatIsApprovedAndUnderWay(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	f := aFleet(func(s *SetSpec) { s.Waves = []Wave{{Name: "share", Approve: true}} })
	f.Approve(setKey, "r1/share")
	g.Expect(f.Wrote(written("d1", "r1", "rest", selected()))).To(Succeed())
	again := written("d1", "r1", "share", selected())
	g.Expect(f.Wrote(again)).To(MatchError(ContainSubstring("had its place in wave rest")))
	f = aFleet(nil)
	f.Declare(setKey, "", SetSpec{Leaves: Leaves{interval: "31"}, Where: Where{Path: plant, Value: "43"}, MaxInFlight: 2, Judged: true, Still: true})
	g.Expect(f.Wrote(written("d1", "r1", "rest", selected()))).To(Succeed(), "the edit may not be known yet")
	f.Acknowledged()
	g.Expect(f.Wrote(written("d2", "r2", "rest", selected()))).To(MatchError(ContainSubstring("paused or suspended")))
	late := written("d2", "r1", "rest", selected())
	late.Late = true
	g.Expect(f.Wrote(late)).To(Succeed(), "it was on its way")
}

func TestAFleetAtRest(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	f := aFleet(nil)
	write := written("d1", "r1", "rest", selected())
	g.Expect(f.Wrote(write)).To(Succeed())
	seen := SetSeen{Phase: "Complete", Revision: "r1", Selected: 1, Written: 1}
	g.Expect(f.Rest(setKey, seen, map[string]Leaves{"d1": write.After, "d4": {plant: "44"}})).To(Succeed())
	for want, twins := range map[string]map[string]Leaves{
		"d2 holds revision": {"d1": write.After, "d2": selected()},
		"has its marker":    {"d1": write.After, "d4": write.After.Apply(Patch{Set: Leaves{plant: "44"}})},
		"yet to be changed": {"d1": write.After.Apply(Patch{Set: Leaves{interval: "9"}})},
		"counts 1 devices":  {"d1": write.After, "d2": write.After},
	} {
		g.Expect(f.Rest(setKey, seen, twins)).To(MatchError(ContainSubstring(want)))
	}
	seen.InFlight = []string{"d1"}
	g.Expect(f.Rest(setKey, seen, map[string]Leaves{"d1": write.After})).To(MatchError(ContainSubstring("in flight")))
	seen.Phase = "Progressing"
	g.Expect(f.Rest(setKey, seen, nil)).To(MatchError(ContainSubstring("does not come to rest")))
}

// What a device has reported once stands on the hub, whatever it says of other properties since: it has answered a
// revision that brings the same value again.
func TestAFleetRemembersWhatADeviceReported(t *testing.T) {
	t.Parallel()
	for name, refuses := range map[string]bool{"taken over": false, "refused": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			f := aFleet(func(s *SetSpec) { s.MaxInFlight = 1 })
			theirs := At("desired", "theirs")
			before := Leaves{plant: "43", interval: "30"}
			f.Report("d1", before, !refuses)
			f.Report("d1", Leaves{plant: "43", theirs: "1"}, true)
			g.Expect(f.Wrote(written("d1", "r1", "rest", before))).To(Succeed())
			g.Expect(f.Wrote(written("d2", "r1", "rest", selected()))).To(Succeed(), "d1 has answered")
			g.Expect(f.Wrote(written("d3", "r1", "rest", selected()))).To(MatchError(ContainSubstring("2 devices are in flight")))
			f.Report("d1", Leaves{plant: "43", interval: "29"}, true)
			g.Expect(f.devices["d1"].reported).To(Equal(Leaves{interval: "29", theirs: "1"}))
			g.Expect(f.devices["d1"].rejected).To(BeEmpty())
		})
	}
}

// A set that was just created, and is the older one by the tie of its UID, may not be known yet.
func TestAFleetAllowsForAnOlderSetThatIsNew(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	f := aFleet(nil)
	f.Declare("ns_s0", "0", SetSpec{Leaves: Leaves{interval: "60"}, Where: Where{Path: plant, Value: "43"}, MaxInFlight: 2})
	g.Expect(f.Wrote(written("d1", "r1", "rest", selected()))).To(Succeed())
	f.Acknowledged()
	g.Expect(f.Wrote(written("d2", "r1", "rest", selected()))).To(MatchError(ContainSubstring("would be written differently")))
}

package reference

import (
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"
)

const (
	tagA = Path("tags\x00a")
	tagB = Path("tags\x00b")
)

func seen(hub Leaves, drifted bool) Seen {
	out := Seen{Registered: true, Hub: hub, Holder: "o", Reasons: map[string]string{"o": Succeeded}, Drifted: map[string]bool{}}
	if drifted {
		out.Drifted["o"] = true
	}
	return out
}

// unkept is what is seen of a twin that the object reads and does not keep.
func unkept(hub Leaves) Seen {
	out := seen(hub, false)
	out.Holder = ""
	return out
}

// started is a device with one object, and a manager that has acted.
func started(t *testing.T, spec Spec) (*Device, *WithT) {
	t.Helper()
	g := NewWithT(t)
	d := NewDevice()
	d.Start()
	d.Create("o", spec)
	want := seen(spec.Leaves, false)
	if !spec.writes() {
		want = unkept(spec.Leaves)
	}
	g.Expect(d.Rest(want)).To(Succeed())
	return d, g
}

func TestAnEnforcedLeafIsRestored(t *testing.T) {
	t.Parallel()
	d, g := started(t, Spec{Leaves: Leaves{tagA: "1"}})
	d.Write(Patch{Set: Leaves{tagA: "2", tagB: "2"}})
	g.Expect(d.Rest(seen(Leaves{tagA: "2", tagB: "2"}, false))).NotTo(Succeed())
	g.Expect(d.Rest(seen(Leaves{tagA: "1"}, false))).NotTo(Succeed())
	g.Expect(d.Rest(seen(Leaves{tagA: "1", tagB: "2"}, false))).To(Succeed())
}

func TestAYieldedLeafStaysAndAnEditIsWrittenOnce(t *testing.T) {
	t.Parallel()
	spec := Spec{Leaves: Leaves{tagA: "1"}, Policy: Yield}
	d, g := started(t, spec)
	d.Write(Patch{Set: Leaves{tagA: "2"}})
	g.Expect(d.Rest(seen(Leaves{tagA: "1"}, false))).NotTo(Succeed())
	g.Expect(d.Rest(seen(Leaves{tagA: "2"}, true))).To(Succeed())
	spec.Leaves = Leaves{tagA: "3"}
	d.Edit("o", spec)
	g.Expect(d.Rest(seen(Leaves{tagA: "2"}, true))).NotTo(Succeed())
	g.Expect(d.Rest(seen(Leaves{tagA: "3"}, false))).To(Succeed())
}

func TestAFormerLeafGoesUnlessAnotherWriterSetIt(t *testing.T) {
	t.Parallel()
	for _, event := range []struct {
		name   string
		happen func(*Device)
		left   Leaves
	}{
		{"nothing", func(*Device) {}, Leaves{}},
		{"another writer wrote", func(d *Device) { d.Write(Patch{Set: Leaves{tagA: "2"}}) }, Leaves{tagA: "2"}},
		{"another writer wrote beside it", func(d *Device) { d.Write(Patch{Set: Leaves{tagB: "2"}}) }, Leaves{tagB: "2"}},
		{"the record was lost", func(d *Device) { d.LoseRecord("o") }, Leaves{tagA: "1"}},
		{"the status was wiped", func(d *Device) { d.WipeStatus("o") }, Leaves{tagA: "1"}},
		{"the hub was restored", func(d *Device) { d.RestoreHub(true, Leaves{tagA: "1", tagB: "2"}) }, Leaves{tagB: "2"}},
		{"the hub was restored to before it", func(d *Device) { d.RestoreHub(true, Leaves{}) }, Leaves{}},
		{"the hub has another value again", func(d *Device) { d.RestoreHub(true, Leaves{tagA: "2"}) }, Leaves{tagA: "2"}},
		{"the device was registered anew", func(d *Device) { d.Reregister() }, Leaves{}},
	} {
		t.Run(event.name, func(t *testing.T) {
			t.Parallel()
			d, g := started(t, Spec{Leaves: Leaves{tagA: "1"}})
			d.Stop()
			event.happen(d)
			d.Edit("o", Spec{})
			d.Start()
			g.Expect(d.Rest(unkept(Leaves{tagA: "3"}))).NotTo(Succeed())
			g.Expect(d.Rest(unkept(event.left))).To(Succeed())
		})
	}
}

func TestARestoredHubIsBroughtIntoStep(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		policy  Policy
		want    Leaves
		drifted bool
	}{
		"enforced": {Enforce, Leaves{tagA: "1"}, false},
		"yielded":  {Yield, Leaves{tagA: "2"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, g := started(t, Spec{Leaves: Leaves{tagA: "1"}, Policy: tt.policy})
			d.RestoreHub(true, Leaves{tagA: "2"})
			g.Expect(d.Fits(seen(Leaves{tagA: "3"}, false))).To(BeFalse())
			g.Expect(d.Fits(seen(tt.want, tt.drifted))).To(BeTrue())
			g.Expect(d.Rest(seen(tt.want, tt.drifted))).To(Succeed())
		})
	}
}

func TestAnObjectIsKeptWhileThereIsSomethingToCleanUp(t *testing.T) {
	t.Parallel()
	d, g := started(t, Spec{Leaves: Leaves{tagA: "1"}})
	d.Edit("o", Spec{Leaves: Leaves{tagA: "1"}, Clear: true})
	pruned := seen(Leaves{tagA: "1"}, false)
	g.Expect(d.Rest(pruned)).NotTo(Succeed())
	pruned.Kept = map[string]bool{"o": true}
	g.Expect(d.Rest(pruned)).To(Succeed())
}

// TestAWipedStatusMayPassTheTwinOn: to a manager that has not reconciled it yet, nothing says
// any more who keeps it.
func TestAWipedStatusMayPassTheTwinOn(t *testing.T) {
	t.Parallel()
	wipe := func(d *Device) { d.WipeStatus("o") }
	for name, tt := range map[string]struct {
		events []func(*Device)
		passes bool
	}{
		"not wiped":               {[]func(*Device){(*Device).Stop, (*Device).Start}, false},
		"before a manager starts": {[]func(*Device){(*Device).Stop, wipe, (*Device).Start}, true},
		"while one starts":        {[]func(*Device){(*Device).Stop, (*Device).Start, wipe}, true},
		"while one runs":          {[]func(*Device){wipe}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, g := started(t, Spec{Leaves: Leaves{tagA: "1"}})
			d.Create("p", Spec{Leaves: Leaves{tagA: "2"}})
			first, second := seen(Leaves{tagA: "1"}, false), seen(Leaves{tagA: "2"}, false)
			first.Reasons["p"] = DeviceClaimed
			second.Holder, second.Reasons = "p", map[string]string{"o": DeviceClaimed, "p": Succeeded}
			g.Expect(d.Rest(first)).To(Succeed())
			for _, happen := range tt.events {
				happen(d)
			}
			if !tt.passes {
				g.Expect(d.Rest(second)).NotTo(Succeed())
				g.Expect(d.Rest(first)).To(Succeed())
				return
			}
			g.Expect(d.Rest(second)).To(Succeed())
		})
	}
}

func TestAQueuedWriteLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	d, g := started(t, Spec{})
	d.SetQueues(true)
	d.Edit("o", Spec{Leaves: Leaves{tagA: "1"}})
	d.Stop()
	d.Edit("o", Spec{})
	d.Start()
	d.SetQueues(false)
	g.Expect(d.Rest(unkept(Leaves{tagA: "1"}))).NotTo(Succeed())
	g.Expect(d.Rest(unkept(Leaves{}))).To(Succeed())
}

// TestOneThatOnlyLooksKeepsTheTwinFromNoOther, as soon as nothing is there that it wrote.
func TestOneThatOnlyLooksKeepsTheTwinFromNoOther(t *testing.T) {
	t.Parallel()
	d, g := started(t, Spec{Leaves: Leaves{tagA: "1"}})
	d.Create("p", Spec{Leaves: Leaves{tagA: "2"}})
	first, second := seen(Leaves{tagA: "1"}, false), seen(Leaves{tagA: "2"}, false)
	first.Reasons["p"] = DeviceClaimed
	g.Expect(d.Rest(first)).To(Succeed())
	d.Edit("o", Spec{Leaves: Leaves{tagA: "1"}, Policy: Observe})
	g.Expect(d.Rest(first)).To(Succeed(), "the hub holds what it wrote")
	d.Edit("o", Spec{Policy: Observe})
	second.Holder, second.Reasons = "p", map[string]string{"o": Succeeded, "p": Succeeded}
	g.Expect(d.Rest(second)).NotTo(Succeed(), "the policy keeps what it wrote")
	d.Edit("o", Spec{})
	g.Expect(d.Rest(second)).To(Succeed())
}

func fewPaths() *rapid.Generator[Path] {
	return rapid.SampledFrom([]Path{
		At("tags", "a"), At("tags", "a", "a"), At("tags", "a", "b"), At("tags", "a", "a", "a"), At("tags", "b"),
	})
}

func fewPolicies() *rapid.Generator[Policy] {
	return rapid.SampledFrom([]Policy{Enforce, Yield, Initialize, Observe})
}

func fewLeaves() *rapid.Generator[Leaves] {
	return rapid.Custom(func(t *rapid.T) Leaves {
		out := Leaves{}
		for range rapid.IntRange(0, 3).Draw(t, "leaves") {
			value := rapid.SampledFrom([]string{"1", "2", Empty, "[]"}).Draw(t, "value")
			out = out.Apply(Patch{Set: Leaves{fewPaths().Draw(t, "path"): value}})
		}
		return out
	})
}

// TestPlansKeepTheRules holds the rules themselves against what they are for.
func TestPlansKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{Leaves: fewLeaves().Draw(t, "declared"), Policy: fewPolicies().Draw(t, "policy")}
		hub, before := fewLeaves().Draw(t, "hub"), record{}.clone()
		for path, value := range fewLeaves().Draw(t, "recorded") {
			before.add(path, value)
		}
		p := &planner{before: before}
		planned := planFor(spec, before, hub, nil, nil)
		after := hub.Apply(planned.patch)
		for path, value := range hub {
			declared := spec.Leaves[path] != "" && (spec.Policy == Enforce || spec.Policy == Yield)
			if !declared && !p.mine(path, value) && value != Empty && after[path] != value {
				t.Fatalf("another writer's %s=%s is lost: %s", path, value, after)
			}
			if _, ok := after[path]; ok && spec.Policy != Observe && !spec.Leaves.anyWithin(path) && before.holds(path, value) {
				t.Fatalf("%s=%s left the declaration and is still there", path, value)
			}
		}
		for path, value := range spec.Leaves {
			holds := after[path] == value || value == Empty && after.isObject(path)
			if spec.Policy == Enforce && !planned.conflict && !holds {
				t.Fatalf("%s=%s is declared and not there: %s", path, value, after)
			}
		}
		if again := planFor(spec, planned.wide, after, nil, nil); !again.patch.Nothing() {
			t.Fatalf("planned again: %s", again.patch)
		}
	})
}

package twin

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// policyStep is one reconcile: another writer writes, then a declaration is planned.
type policyStep struct {
	declared, theirs string // tags; theirs is a merge patch
	lost             bool   // the patch does not arrive
	patch            string // "" means no patch
	// What is left alone, and why.
	yielded, observed, conflict string
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		policy Policy
		paths  map[string]Policy
		steps  []policyStep
	}{
		"Enforce restores": {policy: Enforce, steps: []policyStep{
			{declared: `{"a":1}`, patch: `{"a":1}`},
			{declared: `{"a":1}`, theirs: `{"a":2}`, patch: `{"a":1}`},
			{declared: `{"a":1}`, theirs: `{"a":null}`, patch: `{"a":1}`},
		}},
		"Yield leaves what was there first": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1,"b":1}`, theirs: `{"a":2}`, patch: `{"b":1}`, yielded: "tags.a"},
			{declared: `{"a":1,"b":1}`, yielded: "tags.a"},
		}},
		"Yield leaves what came later, and writes an edit once": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1}`, patch: `{"a":1}`},
			{declared: `{"a":1}`, theirs: `{"a":2}`, yielded: "tags.a"},
			{declared: `{"a":1}`, theirs: `{"a":3}`, yielded: "tags.a"},
			{declared: `{"a":4}`, patch: `{"a":4}`},
			{declared: `{"a":4}`, theirs: `{"a":3}`, yielded: "tags.a"},
			{declared: `{"a":5}`, patch: `{"a":5}`},
		}},
		"Yield writes an edit again that did not arrive": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1}`, theirs: `{"a":2}`, yielded: "tags.a"},
			{declared: `{"a":3}`, lost: true, patch: `{"a":3}`},
			{declared: `{"a":3}`, patch: `{"a":3}`},
			{declared: `{"a":3}`},
		}},
		"Yield gives way when another writer wrote over an edit that did not arrive": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1}`, theirs: `{"a":2}`, yielded: "tags.a"},
			{declared: `{"a":3}`, lost: true, patch: `{"a":3}`},
			{declared: `{"a":3}`, theirs: `{"a":4}`, yielded: "tags.a"},
		}},
		"Yield adopts a value that came to be ours": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1}`, theirs: `{"a":2}`, yielded: "tags.a"},
			{declared: `{"a":1}`, theirs: `{"a":1}`},
			{declared: `{}`, patch: `{"a":null}`},
		}},
		"Yield fills what no writer holds": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1}`, patch: `{"a":1}`},
			{declared: `{"a":1}`, theirs: `{"a":null}`, patch: `{"a":1}`},
		}},
		"a yielded leaf that leaves the manifest stays": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1}`, theirs: `{"a":2}`, yielded: "tags.a"},
			{declared: `{}`},
		}},
		"Yield takes no object away from another writer": {policy: Yield, steps: []policyStep{
			{declared: `{"a":1,"b":{"c":1}}`, theirs: `{"a":{"x":1},"b":5}`, yielded: "tags.a, tags.b"},
		}},
		"Initialize writes where nothing is, and never again": {policy: Initialize, steps: []policyStep{
			{declared: `{"a":1,"b":1}`, theirs: `{"b":2}`, patch: `{"a":1}`},
			{declared: `{"a":3,"b":1}`},
			{declared: `{"a":3,"b":1}`, theirs: `{"a":null}`, patch: `{"a":3}`},
			{declared: `{}`, patch: `{"a":null}`},
		}},
		"a value that was initialized is still ours after an edit": {policy: Initialize, steps: []policyStep{
			{declared: `{"a":1}`, patch: `{"a":1}`},
			{declared: `{"a":2}`},
			{declared: `{}`, patch: `{"a":null}`},
		}},
		"Initialize has nothing to say where another writer has another shape": {policy: Initialize, steps: []policyStep{
			{declared: `{"a":1,"b":{"c":1}}`, theirs: `{"a":{"x":1},"b":5}`},
		}},
		"Observe never writes": {policy: Observe, steps: []policyStep{
			{declared: `{"a":1,"b":{"c":1},"d":{"e":1},"f":2}`, theirs: `{"a":2,"b":3,"f":{"x":1}}`, observed: "tags.a, tags.b, tags.d.e, tags.f"},
			{declared: `{}`},
		}},
		"the longest path decides": {policy: Enforce, paths: map[string]Policy{"tags.a": Observe, "tags.a.b": Enforce, "tags.a.b.c": Yield}, steps: []policyStep{
			{declared: `{"a":{"b":{"c":1,"d":1},"e":1},"f":1}`, theirs: `{"a":{"b":{"c":0,"d":0},"e":0},"f":0}`,
				patch: `{"a":{"b":{"d":1}},"f":1}`, yielded: "tags.a.b.c", observed: "tags.a.e"},
		}},
		"an object is made without its observed leaves": {policy: Enforce, paths: map[string]Policy{"tags.a.b": Observe}, steps: []policyStep{
			{declared: `{"a":{"b":1,"c":1}}`, patch: `{"a":{"c":1}}`, observed: "tags.a.b"},
		}},
		"an object of observed leaves only wipes nothing": {policy: Enforce, paths: map[string]Policy{"tags.a.b": Observe}, steps: []policyStep{
			{declared: `{"a":{"b":1}}`, theirs: `{"a":5}`, observed: "tags.a"},
		}},
		"Enforce in an object that is in the way is a conflict": {policy: Observe, paths: map[string]Policy{"tags.a.b": Enforce}, steps: []policyStep{
			{declared: `{"a":{"b":1,"c":1}}`, theirs: `{"a":5}`,
				conflict: `tags.a is declared as an object, and the hub holds another writer's value there (declared {"b":1,"c":1}, held 5)`},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policies := Policies{Default: tt.policy}
			for text, policy := range tt.paths {
				path, err := ParsePath(text)
				if err != nil {
					t.Fatal(err)
				}
				policies.Paths = append(policies.Paths, PathPolicy{Path: path, Policy: policy})
			}
			record, held := NewRecord(target), Document{}
			for i, s := range tt.steps {
				if s.theirs != "" {
					held = Apply(held, Document{Tags: object(t, s.theirs)})
				}
				in := Input{Declared: Document{Tags: object(t, s.declared)}, Record: record, Observed: held, Policies: policies}
				plan := Make(in)
				checkStep(t, i, s, plan)
				checkUnrecorded(t, in, plan)
				if s.lost {
					record = plan.Record
					continue
				}
				record, held = plan.Settled, Apply(held, plan.Patch)
			}
		})
	}
}

func checkStep(t *testing.T, i int, s policyStep, plan Plan) {
	t.Helper()
	patch, conflict := "", ""
	if plan.Patch.Tags != nil {
		patch = spell(t, plan.Patch.Tags)
	}
	for _, c := range plan.Conflicts {
		conflict += c.String()
	}
	got := []string{patch, plan.Yielded.Paths().String(), plan.Observed.Paths().String(), conflict}
	want := []string{s.patch, s.yielded, s.observed, s.conflict}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("step %d: patch, yielded, observed, conflict (-want +got):\n%s", i, diff)
	}
}

func TestWhatIsPostponedIsNotWrittenAndStaysPending(t *testing.T) {
	t.Parallel()
	declared := Document{Tags: map[string]any{"a": "ours", "b": "new"}}
	in := Input{
		Declared: declared, Record: recordOf(Document{Tags: map[string]any{"a": "ours"}}),
		Observed:  Document{Tags: map[string]any{"a": "theirs"}},
		Postponed: func(Path) bool { return true },
	}
	plan := Make(in)
	if got := spell(t, plan.Patch.Tags); got != `{"b":"new"}` {
		t.Errorf("patch %s: only drift waits, a first write does not", got)
	}
	if got := plan.Postponed.String(); got != `tags.a (declared "ours", held "theirs")` {
		t.Errorf("postponed %s", got)
	}
	if got := spell(t, Pending(in).Patch.Tags); got != `{"a":"ours","b":"new"}` {
		t.Errorf("pending %s", got)
	}
}

func TestPendingIsWhatObservingKeepsFromBeingDone(t *testing.T) {
	t.Parallel()
	in := Input{
		Declared: Document{Tags: map[string]any{"a": json1, "gone": json1}}, Record: NewRecord(target), Observed: Document{},
		Policies: Policies{Default: Observe, Paths: []PathPolicy{{Path: Path{section: Tags}.child("gone"), Policy: Observe}}},
	}
	if got := spell(t, Pending(in).Patch.Tags); got != `{"a":1,"gone":1}` {
		t.Errorf("pending %s", got)
	}
}

func TestWhatIsSparedStaysForASuccessor(t *testing.T) {
	t.Parallel()
	ours := Document{Tags: object(t, `{"a":1,"b":{"c":1,"d":1},"e":{"f":1},"g":1}`)}
	plan := Make(Input{
		Record: recordOf(ours), Observed: ours,
		Spared: Document{Tags: object(t, `{"a":2,"b":{"c":1},"e":5,"g":{"h":1}}`)},
	})
	if got := spell(t, plan.Patch.Tags); got != `{"b":{"d":null},"e":null,"g":null}` {
		t.Errorf("patch %s", got)
	}
}

const json1 = 1.0

func TestParsePath(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"tags", "desired.a.b", "tags."} {
		if path, err := ParsePath(text); err != nil || (text != "tags." && path.String() != text) {
			t.Errorf("%s: %s, %v", text, path, err)
		}
	}
	for _, text := range []string{"", "reported.a", "Tags.a", ".tags", "tags.a.$b", "desired.a b", "tags." + strings.Repeat("k", maxKeyBytes+1)} {
		if path, err := ParsePath(text); err == nil {
			t.Errorf("%q: read as %s", text, path)
		}
	}
}

func somePolicy() *rapid.Generator[Policy] {
	return rapid.SampledFrom([]Policy{Enforce, Yield, Initialize, Observe})
}

func somePolicies() *rapid.Generator[Policies] {
	return rapid.Custom(func(t *rapid.T) Policies {
		policies := Policies{Default: somePolicy().Draw(t, "default")}
		for range rapid.IntRange(0, 3).Draw(t, "paths") {
			path := Path{section: rapid.SampledFrom([]Section{Tags, Desired}).Draw(t, "section")}
			for range rapid.IntRange(0, 3).Draw(t, "depth") {
				path = path.child(someKey().Draw(t, "key"))
			}
			policies.Paths = append(policies.Paths, PathPolicy{Path: path, Policy: somePolicy().Draw(t, "policy")})
		}
		return policies
	})
}

func TestPolicyProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := someInput().Draw(t, "input")
		in.Policies = somePolicies().Draw(t, "policies")
		plan := Make(in)
		after := Apply(in.Observed, plan.Patch)

		checkForeignLeavesStay(t, in, after)
		checkMinimal(t, in.Observed, plan.Patch)
		checkNothingLeftToDo(t, in, plan, after)
		checkRecordGrows(t, in.Record, plan.Record, after)
		checkPoliciesAreKept(t, in, after)
		checkUnrecorded(t, in, plan)
		if pending := Pending(in); !plan.Withheld && !samePatch(pending.Patch, plan.Patch) {
			t.Fatalf("nothing is withheld, and %v is pending beyond %v", pending.Patch, plan.Patch)
		}
	})
}

func samePatch(a, b Document) bool {
	return reflect.DeepEqual(a.Tags, b.Tags) && reflect.DeepEqual(a.Desired, b.Desired)
}

// checkUnrecorded: a plan without records is the same in everything else.
func checkUnrecorded(t rapid.TB, in Input, plan Plan) {
	in.Unrecorded = true
	plan.Record, plan.Settled = Record{}, Record{}
	if got := Make(in); !reflect.DeepEqual(got, plan) {
		t.Fatalf("without records %+v, with them %+v", got, plan)
	}
}

// checkPoliciesAreKept: what is observed does not change, and what is there is
// not written over where it should only be initialized.
func checkPoliciesAreKept(t *rapid.T, in Input, after Document) {
	for leaf, value := range leavesOf(in.Observed) {
		policy := in.Policies.of(pathOf(leaf))
		if policy != Observe && policy != Initialize {
			continue
		}
		got, ok := at(after, leaf)
		if ok && equalValues(got, value) {
			continue
		}
		if _, anyObject := value.(map[string]any); anyObject {
			continue // an empty object may be filled, or go with its ancestor
		}
		if policy == Initialize && recorded(in.Record, leaf, value) {
			continue // ours: it may leave with the manifest
		}
		if declaredAround(in, leaf) {
			continue // another path's policy asks for another shape of what is all ours
		}
		t.Fatalf("%s: leaf %q was %v, is %v", policy, leaf, value, got)
	}
}

// declaredAround tells whether a leaf is declared above or below this one.
func declaredAround(in Input, leaf string) bool {
	for declared := range leavesOf(in.Declared) {
		if declared != leaf && (within(leaf, declared) || within(declared, leaf)) {
			return true
		}
	}
	return false
}

func pathOf(leaf string) Path {
	path := Path{}
	for i, part := range splitLeaf(leaf) {
		if i == 0 {
			path.section = Section(part)
			continue
		}
		path = path.child(part)
	}
	return path
}

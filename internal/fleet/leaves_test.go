package fleet_test

import (
	"encoding/json"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Few keys and values, so that documents collide often.
func key() *rapid.Generator[string] { return rapid.SampledFrom([]string{"a", "b", "c"}) }

func scalar() *rapid.Generator[any] {
	return rapid.SampledFrom([]any{json.Number("1"), json.Number("2.5"), "x", "it's \"so\"", "", true, false})
}

func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		switch {
		case depth > 0 && kind < 4:
			return object(depth-1).Draw(t, "object")
		case kind == 4:
			return rapid.SliceOfN(scalar(), 0, 2).Draw(t, "array")
		}
		return scalar().Draw(t, "scalar")
	})
}

func object(depth int) *rapid.Generator[map[string]any] {
	return rapid.MapOfN(key(), value(depth), 0, 3)
}

func document() *rapid.Generator[twin.Document] {
	return rapid.Custom(func(t *rapid.T) twin.Document {
		return twin.Document{Tags: object(2).Draw(t, "tags"), Desired: object(2).Draw(t, "desired")}
	})
}

// policies are those of a few paths into what document draws.
func policies() *rapid.Generator[twin.Policies] {
	policy := func() *rapid.Generator[twin.Policy] {
		return rapid.SampledFrom([]twin.Policy{twin.Enforce, twin.Yield, twin.Initialize, twin.Observe})
	}
	return rapid.Custom(func(t *rapid.T) twin.Policies {
		out := twin.Policies{Default: policy().Draw(t, "default")}
		for _, text := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"tags", "desired", "tags.a", "desired.a", "desired.a.b", "tags.b"}), 0, 3, rapid.ID[string]).Draw(t, "paths") {
			path, err := twin.ParsePath(text)
			if err != nil {
				t.Fatal(err)
			}
			out.Paths = append(out.Paths, twin.PathPolicy{Path: path, Policy: policy().Draw(t, "policy")})
		}
		return out
	})
}

type leafSet map[string]any

func leavesOf(of twin.Document) leafSet {
	out := leafSet{}
	for path, leaf := range of.Leaves() {
		out[path.String()] = leaf
	}
	return out
}

// touches tells whether a leaf is at the same place as another, above it, or below it.
func touches(a, b twin.Path) bool {
	short := min(len(a.Keys()), len(b.Keys()))
	return a.Section() == b.Section() && slices.Equal(a.Keys()[:short], b.Keys()[:short])
}

func TestWithoutLeavesOutWhatTheOtherTouchesAndNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		declared, other := document().Draw(t, "declared"), document().Draw(t, "other")
		before := leavesOf(declared)
		want, overlap := leafSet{}, false
		for path, leaf := range declared.Leaves() {
			touched := false
			for theirs := range other.Leaves() {
				touched = touched || touches(path, theirs)
			}
			overlap = overlap || touched
			if !touched {
				want[path.String()] = leaf
			}
		}
		rest, overlaps := fleet.Without(declared, other)
		g := NewWithT(t)
		g.Expect(leavesOf(rest)).To(Equal(want))
		g.Expect(overlaps).To(Equal(overlap))
		g.Expect(leavesOf(declared)).To(Equal(before), "what was declared stays as it is")
		again, overlaps := fleet.Without(rest, other)
		g.Expect(overlaps).To(BeFalse())
		g.Expect(leavesOf(again)).To(Equal(want))
	})
}

func TestOwnedAreTheLeavesThatAreNotOnlyObserved(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		declared, policies := document().Draw(t, "declared"), policies().Draw(t, "policies")
		want := leafSet{}
		for path, leaf := range declared.Leaves() {
			if policies.Of(path) != twin.Observe {
				want[path.String()] = leaf
			}
		}
		g := NewWithT(t)
		owned := fleet.Owned(declared, policies)
		g.Expect(leavesOf(owned)).To(Equal(want))
		g.Expect(policies.Write(owned)).To(Equal(len(want) > 0))
	})
}

func TestWithoutAboveAndBelow(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	desired := func(value any) twin.Document { return twin.Document{Desired: map[string]any{"schedule": value}} }
	both := map[string]any{"start": 7, "end": 8}
	for name, tt := range map[string]struct{ ours, theirs, rest any }{
		"the same leaf":        {ours: both, theirs: map[string]any{"start": 9}, rest: map[string]any{"end": 8}},
		"all of them":          {ours: both, theirs: both},
		"a leaf above":         {ours: both, theirs: "always"},
		"an object below":      {ours: "always", theirs: both},
		"an empty object":      {ours: both, theirs: map[string]any{}},
		"below an empty one":   {ours: map[string]any{}, theirs: both},
		"an array is one leaf": {ours: []any{1}, theirs: []any{2}},
	} {
		rest, overlaps := fleet.Without(desired(tt.ours), desired(tt.theirs))
		g.Expect(overlaps).To(BeTrue(), name)
		if tt.rest == nil {
			g.Expect(rest.Desired).To(BeEmpty(), name)
			continue
		}
		g.Expect(rest).To(Equal(desired(tt.rest)), name)
	}
	rest, overlaps := fleet.Without(desired(both), twin.Document{Tags: map[string]any{"schedule": 1}})
	g.Expect(overlaps).To(BeFalse(), "the other section")
	g.Expect(rest).To(Equal(desired(both)))
}

package fleet_test

import (
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// line is the set that the tests are about.
func line() types.NamespacedName {
	return types.NamespacedName{Namespace: "factory", Name: "line-3"}
}

func TestAMarkerIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	declared := twin.Document{Tags: map[string]any{"ring": "stable"}, Desired: map[string]any{"interval": 30}}
	marker := fleet.Marker{Revision: "1234567890", Wave: "canary"}
	marked := fleet.WithMarker(declared, line(), marker)
	g.Expect(marked.Tags).To(Equal(map[string]any{
		"ring": "stable", "deviceTwinSets": map[string]any{
			"factory_line-3": map[string]any{"revision": "1234567890", "wave": "canary"},
		},
	}))
	g.Expect(marked.Desired).To(Equal(declared.Desired))
	g.Expect(declared.Tags).To(HaveLen(1), "what was declared stays as it is")
	read, found := fleet.MarkerOf(marked.Tags, line())
	g.Expect(found).To(BeTrue())
	g.Expect(read).To(Equal(marker))
	_, found = fleet.MarkerOf(marked.Tags, types.NamespacedName{Namespace: "factory", Name: "line-4"})
	g.Expect(found).To(BeFalse(), "another set's")
	g.Expect(fleet.WithMarker(twin.Document{}, line(), marker).Tags).To(HaveKey("deviceTwinSets"))
}

// TestMarkersThatAnotherWriterPutThere: a twin's tags hold whatever was written to them.
func TestMarkersThatAnotherWriterPutThere(t *testing.T) {
	t.Parallel()
	for name, tags := range map[string]map[string]any{
		"no tags":             nil,
		"a text for all":      {"deviceTwinSets": "mine"},
		"a text for one":      {"deviceTwinSets": map[string]any{"factory_line-3": "1234567890"}},
		"no revision":         {"deviceTwinSets": map[string]any{"factory_line-3": map[string]any{"wave": "rest"}}},
		"a number":            {"deviceTwinSets": map[string]any{"factory_line-3": map[string]any{"revision": 7.0}}},
		"an empty revision":   {"deviceTwinSets": map[string]any{"factory_line-3": map[string]any{"revision": ""}}},
		"another capital":     {"devicetwinsets": map[string]any{"factory_line-3": map[string]any{"revision": "1"}}},
		"a list in its place": {"deviceTwinSets": []any{"factory_line-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			marker, found := fleet.MarkerOf(tags, line())
			NewWithT(t).Expect(found).To(BeFalse(), "%v", marker)
		})
	}
	g := NewWithT(t)
	marker, found := fleet.MarkerOf(map[string]any{"deviceTwinSets": map[string]any{"factory_line-3": map[string]any{"revision": "r", "wave": 3.0}}}, line())
	g.Expect(found).To(BeTrue(), "a revision without a wave that can be read")
	g.Expect(marker).To(Equal(fleet.Marker{Revision: "r"}))
}

// TestNoTwoSetsShareAMarker: the underscore is in no name of either kind.
func TestNoTwoSetsShareAMarker(t *testing.T) {
	t.Parallel()
	seen := map[string]types.NamespacedName{}
	for _, set := range []types.NamespacedName{
		{Namespace: "a", Name: "b-c"}, {Namespace: "a-b", Name: "c"}, {Namespace: "a-b-c", Name: "c"}, {Namespace: "a", Name: "b"},
	} {
		key := fleet.MarkerKey(set)
		if other, taken := seen[key]; taken {
			t.Errorf("%s and %s have the marker %s", set, other, key)
		}
		seen[key] = set
	}
}

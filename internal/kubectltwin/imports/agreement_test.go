package imports

import (
	"encoding/json"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

func held(tags, desired map[string]any) twin.Document {
	return twin.Document{Tags: tags, Desired: desired}
}

// agreed is what twins come to, called d0, d1 and so on.
func agreed(t fataler, where string, twins ...twin.Document) (*setImport, twin.Document, []string) {
	i := &importer{set: "s", where: where, overrides: true, hub: cluster.Hub{}}
	s, err := i.newSet("n")
	if err != nil {
		t.Fatalf("%v", err)
	}
	for n, it := range twins {
		m := manifest{Spec: spec{DeviceID: fmt.Sprintf("d%d", n), Tags: it.Tags, Desired: it.Desired}}
		s.take(m)
		s.take(m) // the index moved: it is there again on the next page
	}
	declared, leftOut := s.template()
	return s, declared, leftOut
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func TestAgreement(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	type m = map[string]any
	s, declared, leftOut := agreed(t, "tags.plant = '43' AND is_defined(tags.place)",
		held(m{"plant": "43", "no": 1, "only": true, "place": m{"x": 1}, "shape": m{}}, m{"interval": json.Number("30"), "list": []any{1.0, "a"}}),
		held(m{"plant": "43", "no": 2, "place": m{"x": 1}, "shape": m{"round": true}}, m{"interval": json.Number("3e1"), "list": []any{1, "a"}}),
		held(m{"plant": "43", "no": 1, "late": 7, "place": m{"x": 1}, "shape": m{"round": true}}, m{"interval": 30.0, "list": []any{1.0, "a"}}),
	)
	g.Expect(s.agreement.twins).To(Equal(int32(3)), "each once, however often it is read")
	g.Expect(s.kept).To(HaveLen(3))
	g.Expect(declared.Tags).To(BeEmpty())
	g.Expect(declared.Desired).To(And(HaveLen(2), HaveKeyWithValue("interval", json.Number("30")), HaveKey("list")), "as the first twin spells it")
	g.Expect(leftOut).To(Equal([]string{
		"tags.late: d2 holds it, d0 does not",
		"tags.no: d0 and d1 differ",
		"tags.only: d0 holds it, d1 does not",
		"tags.place.x: --where reads it",
		"tags.plant: --where reads it",
		"tags.shape: d0 holds it, d1 does not",
		"tags.shape.round: d1 holds it, d0 does not",
	}))
}

func section(t *rapid.T, name string) map[string]any {
	value := rapid.OneOf(rapid.Just[any]("a"), rapid.Just[any]("b"), rapid.Just[any](map[string]any{}), rapid.Just[any]([]any{1, 2}))
	out := map[string]any{}
	for _, key := range []string{"x", "y", "z"} {
		switch rapid.IntRange(0, 2).Draw(t, name+key) {
		case 1:
			out[key] = value.Draw(t, name+key+"value")
		case 2:
			out[key] = map[string]any{"x": value.Draw(t, name+key+"x"), "y": value.Draw(t, name+key+"y")}
		}
	}
	return out
}

// TestNothingIsLostOrAdded: what the set and a twin's own DeviceTwin declare is what the twin holds, but for what the condition
// reads; and no two declare one leaf.
func TestNothingIsLostOrAdded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := NewWithT(t)
		twins := make([]twin.Document, rapid.IntRange(1, 4).Draw(t, "twins"))
		for n := range twins {
			name := fmt.Sprintf("d%d", n)
			twins[n] = held(section(t, name+"t"), section(t, name+"d"))
		}
		s, declared, _ := agreed(t, "tags.z.y = 'a' OR deviceId != ''", twins...)
		for _, it := range twins {
			own := chosen(it, s.agreement.differs)
			for path, value := range it.Leaves() {
				common, inSet := declared.At(path)
				mine, isOwn := own.At(path)
				read := path.String() == "tags.z.y" || path.String() == "tags.z"
				g.Expect(inSet && isOwn).To(BeFalse(), "%s twice", path)
				g.Expect(inSet && read).To(BeFalse(), "%s is read", path)
				if !read {
					g.Expect(inSet || isOwn).To(BeTrue(), "%s of %v", path, it)
				}
				if inSet {
					g.Expect(twin.EqualValues(common, value)).To(BeTrue(), "%s", path)
				}
				if isOwn {
					g.Expect(twin.EqualValues(mine, value)).To(BeTrue(), "%s", path)
				}
			}
			for path := range declared.Leaves() {
				_, has := it.At(path)
				g.Expect(has).To(BeTrue(), "%s would be added", path)
			}
		}
	})
}

func TestRoom(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for devices, want := range map[int32]int32{1: 2, 7: 8, 50: 55, 90: 99, 91: 110, 130: 150, 5000: 5500, 4321: 4800, 1_000_000: 1_000_000, 920_000: 1_000_000} {
		g.Expect(roomFor(devices)).To(Equal(want), "%d", devices)
	}
	rapid.Check(t, func(t *rapid.T) {
		devices := rapid.Int32Range(1, mostDevices).Draw(t, "devices")
		g := NewWithT(t)
		g.Expect(roomFor(devices)).To(And(BeNumerically(">=", devices), BeNumerically("<=", devices+devices/4+2)))
	})
}

package fleet_test

import (
	"errors"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/fleet"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func condition(g Gomega, text string) *query.Condition {
	parsed, err := query.ParseCondition(text)
	g.Expect(err).NotTo(HaveOccurred(), text)
	return parsed
}

// TestAPlaceIsTheSameEverywhere: replicas and releases agree on it, and so it is written here.
func TestAPlaceIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	g.Expect(fleet.Place("press-1", "2f39ab7f05")).To(Equal(2385))
	g.Expect(fleet.Place("press-2", "2f39ab7f05")).To(Equal(7752))
	g.Expect(fleet.Place("press-1", "0000000000")).To(Equal(3608), "another revision begins with other devices")
	g.Expect(fleet.Place("b", "a")).NotTo(Equal(fleet.Place("", "ab")), "where one ends and the other begins counts")
}

// TestPlacesAreSpreadEvenly: ids that are counted up are the common case, and a poor hash leaves
// them together.
func TestPlacesAreSpreadEvenly(t *testing.T) {
	t.Parallel()
	const devices, parts = 20_000, 20
	for _, pattern := range []string{"press-%d", "device-%08d", "%d", "urn:imei:35%013d"} {
		counts := make([]int, parts)
		for i := range devices {
			place := fleet.Place(fmt.Sprintf(pattern, i), "2f39ab7f05")
			if place < 0 || place >= 10_000 {
				t.Fatalf("a place of %d", place)
			}
			counts[place*parts/10_000]++
		}
		for part, count := range counts {
			// Five standard deviations of a fair draw are 154.
			if count < 850 || count > 1150 {
				t.Errorf("%s: part %d has %d devices of 1000", pattern, part, count)
			}
		}
	}
}

func TestPercentagesTakeTheirShare(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	waves := fleet.NewWaves([]v1alpha1.SetWave{{Name: "one", Percent: 1}, {Name: "tenth", Percent: 10}, {Name: "half", Percent: 50}}, make([]*query.Condition, 3))
	g.Expect(waves).To(HaveLen(4))
	const devices = 20_000
	counts := make([]int, len(waves))
	for i := range devices {
		device := fmt.Sprintf("press-%d", i)
		at, err := waves.Of(device, "2f39ab7f05", noDocument)
		g.Expect(err).NotTo(HaveOccurred())
		counts[at]++
		g.Expect(at == 0).To(Equal(fleet.Place(device, "2f39ab7f05") < 100), device)
		for upTo := range waves {
			g.Expect(waves.TakenBy(device, "2f39ab7f05", upTo)).To(Equal(at <= upTo && at < 3), "%s in %d, up to %d", device, at, upTo)
		}
	}
	for i, percent := range []int{1, 10, 50, 39} {
		g.Expect(counts[i]).To(BeNumerically("~", devices*percent/100, devices/100), waves[i].Name)
	}
}

// noDocument fails where waves need no document.
func noDocument() (map[string]any, error) { return nil, errors.New("no document is needed") }

func TestAllPercentOfTheDevicesLeaveNoRest(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	waves := fleet.NewWaves([]v1alpha1.SetWave{{Name: "a", Percent: 33}, {Name: "b", Percent: 67}}, make([]*query.Condition, 2))
	for i := range 5000 {
		at, err := waves.Of(fmt.Sprintf("press-%d", i), "r", noDocument)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(at).To(BeNumerically("<", 2))
	}
}

func TestADeviceBelongsToTheFirstWaveThatTakesIt(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	waves := fleet.NewWaves(
		[]v1alpha1.SetWave{{Name: "canary"}, {Name: "all", Percent: 100}, {Name: "never"}},
		[]*query.Condition{condition(g, "tags.ring = 'canary'"), nil, condition(g, "tags.ring = 'late'")})
	asked := 0
	with := func(tags map[string]any) func() (map[string]any, error) {
		return func() (map[string]any, error) { asked++; return map[string]any{"tags": tags}, nil }
	}
	for want, tags := range []map[string]any{{"ring": "canary"}, {"ring": "late"}} {
		at, err := waves.Of("press-1", "r", with(tags))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(at).To(Equal(want), "%v", tags)
	}
	at, err := waves.Of("press-1", "r", with(nil))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(at).To(Equal(1), "without the tag no condition takes it")
	g.Expect(asked).To(Equal(3), "a document is read once for each device")

	_, err = waves.Of("press-1", "r", func() (map[string]any, error) { return nil, errors.New("throttled") })
	g.Expect(err).To(MatchError("throttled"))
}

func TestWavesByNameAndKind(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	canary := condition(g, "tags.ring = 'canary'")
	waves := fleet.NewWaves([]v1alpha1.SetWave{{Name: "canary"}, {Name: "tenth", Percent: 10}}, []*query.Condition{canary, nil})
	g.Expect(waves.Index("tenth")).To(Equal(1))
	g.Expect(waves.Index(fleet.Rest)).To(Equal(2))
	g.Expect(waves.Index("gone")).To(Equal(-1))
	g.Expect(waves.Percentages(0)).To(BeFalse())
	g.Expect(waves.Percentages(2)).To(BeTrue())
	g.Expect(waves.Conditions(2)).To(Equal([]*query.Condition{canary}))
	g.Expect(waves[2].Then).To(Equal(v1alpha1.AfterWaveContinue))

	all := fleet.All()
	g.Expect(all).To(HaveLen(1))
	at, err := all.Of("press-1", "r", noDocument)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(at).To(BeZero())
	g.Expect(all.TakenBy("press-1", "r", 0)).To(BeFalse(), "the rest is no percentage")
}

package store_test

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// Frozen, a scan yields the same from every start as one of that moment did,
// whatever happens later.
func TestFreeze(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*hub{"live": newHub(t), "late": newLateHub(time.Second, time.Minute)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			for i := range 600 {
				h.put(t, fmt.Sprintf("d%03d", i), "m")
			}
			h.step(time.Second)
			h.remove(t, store.ID{Device: "d300"})
			sources := []store.Source{store.Devices, store.Modules}
			starts := []store.ID{{}, {Device: "d100"}, {Device: "d100", Module: "m"}, {Device: "d100x"}, {Device: "d300"}, {Device: "d599"}, {Device: "z"}}
			want := map[string][]store.ID{}
			for _, source := range sources {
				for _, start := range starts {
					want[fmt.Sprint(source, start)] = scanned(h.Scan(source, start))
				}
			}
			before := h.documents()
			frozen := h.Freeze()
			for i := range 300 {
				h.remove(t, store.ID{Device: fmt.Sprintf("d%03d", i)})
				h.tag(t, fmt.Sprintf("d%03d", 301+i%299), i)
				h.put(t, fmt.Sprintf("e%03d", i), "m")
			}
			h.step(time.Hour)
			for _, source := range sources {
				for _, start := range starts {
					g.Expect(scanned(frozen.Scan(source, start))).To(Equal(want[fmt.Sprint(source, start)]), "%s behind %v", source, start)
				}
				for id, twin := range frozen.Scan(source, store.ID{}) {
					g.Expect(twin.Document()).To(Equal(before[id]))
				}
			}
		})
	}
}

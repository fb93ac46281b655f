package service

import (
	"fmt"
	"iter"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// counted counts the twins that queries look at.
type counted struct {
	twins
	seen int
}

func (c *counted) Scan(source store.Source, after store.ID) iter.Seq2[store.ID, *store.Snapshot] {
	return func(yield func(store.ID, *store.Snapshot) bool) {
		for id, twin := range c.twins.Scan(source, after) {
			if c.seen++; !yield(id, twin) {
				return
			}
		}
	}
}

// All pages together look at each twin once, and at the first one of each page twice: a
// page ends when it is known that there is another one.
func TestPagesGoOnWhereTheLastStopped(t *testing.T) {
	t.Parallel()
	const devices, size = 2000, 10
	hub := store.New(store.Options{Clock: clock.RealClock{}})
	for from := 0; from < devices; from += 100 {
		var entries []string
		for i := range 100 {
			entries = append(entries, fmt.Sprintf(`{"id":"device-%d","importMode":"create","tags":{"ring":"r%d"}}`, from+i, i%4))
		}
		if _, err := hub.Bulk([]byte("[" + strings.Join(entries, ",") + "]")); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"SELECT deviceId FROM devices WHERE tags.ring = 'r1'", "SELECT * FROM devices WHERE NOT IS_DEFINED(tags.fleet)"} {
		g := NewWithT(t)
		q, err := query.Parse(text)
		g.Expect(err).NotTo(HaveOccurred())
		from, all, pages := &counted{twins: hub}, 0, 0
		for next := new(position); next != nil && pages < devices; pages++ {
			var found rows
			found, next = page(twinRows(q, from, *next), *next, 0, size)
			all += len(found)
		}
		g.Expect(pages).To(Equal(all/size), text)
		g.Expect(pages).To(BeNumerically(">=", devices/4/size), text)
		g.Expect(from.seen).To(BeNumerically("<=", devices+pages*4), text) // a page of one in four ends up to four twins late
	}
}

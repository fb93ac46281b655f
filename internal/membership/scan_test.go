package membership

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// TestAScanTakesTheFewestPages: by the ids of what is managed, or the whole answer.
func TestAScanTakesTheFewestPages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		managed int
		count   int64
		text    string
		pages   int // of batches; 0 for the whole
	}{
		"nothing managed":              {0, 100000, "true", 0},
		"few of many":                  {101, 100000, "true", 2},
		"as many pages":                {300, 300, "true", 3},
		"many of few":                  {301, 300, "true", 0},
		"no room for ids in the query": {1, 100000, strings.Repeat("x", 7990), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			var managed []hub.ID
			for i := range tt.managed {
				managed = append(managed, hub.ID{Device: fmt.Sprintf("d%06d", i)})
			}
			whole := hub.Selection{From: hub.Devices, Where: tt.text}
			found := selections(whole, tt.count, managed)
			switch {
			case tt.managed == 0:
				g.Expect(found).To(BeEmpty())
			case tt.pages == 0:
				g.Expect(found).To(Equal([]hub.Selection{whole}))
			default:
				g.Expect(found).To(HaveLen(tt.pages))
				var devices []string
				for _, one := range found {
					devices = append(devices, one.Batch...)
					g.Expect(one.Where).To(Equal(tt.text))
				}
				g.Expect(devices).To(HaveLen(tt.managed))
				g.Expect(slices.IsSorted(devices)).To(BeTrue())
			}
		})
	}
}

// TestAScanIsDueByItsPages, so that it takes a page for each interval, or ten at most.
func TestAScanIsDueByItsPages(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for pages, want := range map[int]time.Duration{0: 57 * time.Second, 1: 57 * time.Second, 3: 177 * time.Second, 1000: 597 * time.Second} {
		g.Expect((&scan{pages: pages}).every(time.Minute)).To(Equal(want))
	}
}

// TestAnAnswerThatWasNotListedSaysNothing of a twin that was not read: it is what it was.
func TestAnAnswerThatWasNotListedSaysNothing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	read, unread := hub.ID{Device: "read"}, hub.ID{Device: "unread"}
	unlisted := &selection{judged: map[hub.ID]judgement{read: {member: true}}}
	listed := &selection{judged: unlisted.judged, listed: time.Now()}
	for _, was := range []bool{true, false} {
		g.Expect(unlisted.has(read, was)).To(BeTrue())
		g.Expect(unlisted.has(unread, was)).To(Equal(was))
		g.Expect(listed.has(unread, was)).To(BeFalse())
	}
}

// TestADisputeEnds, also about a device that is gone and is never read again.
func TestADisputeEnds(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	now := time.Now()
	gone := hub.ID{Device: "gone"}
	a := &selection{judged: map[hub.ID]judgement{gone: {member: true, at: now.Add(-time.Minute)}}, disputed: map[hub.ID]judgement{}}
	a.take(nil, now)
	g.Expect(a.disputed).To(HaveKey(gone))
	a.take(nil, now.Add(longestDispute))
	g.Expect(a.disputed).To(HaveKey(gone))
	a.take(nil, now.Add(longestDispute+time.Second))
	g.Expect(a.disputed).To(BeEmpty())
}

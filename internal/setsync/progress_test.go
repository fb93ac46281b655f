package setsync

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

func row(device, etag string) *hub.Twin { return &hub.Twin{ID: hub.ID{Device: device}, ETag: etag} }

func TestRecentKnowsARowByItsEtag(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	r := newRecent(clock)
	r.add(row("a", "1"))
	g.Expect(r.has(row("a", "1"))).To(BeTrue(), "it is shown as it was")
	g.Expect(r.has(row("a", "2"))).To(BeFalse(), "it is news")
	g.Expect(r.has(row("b", "1"))).To(BeFalse())
	clock.SetTime(clock.Now().Add(indexLag))
	g.Expect(r.has(row("a", "1"))).To(BeTrue(), "for one generation more")
	clock.SetTime(clock.Now().Add(indexLag))
	g.Expect(r.has(row("a", "1"))).To(BeFalse())
}

// TestRecentIsBounded, however many devices are written.
func TestRecentIsBounded(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	r := newRecent(clocktesting.NewFakePassiveClock(time.Now()))
	for i := range 3*maxRecent + 1 {
		r.add(row(fmt.Sprint(i), "1"))
	}
	g.Expect(len(r.now) + len(r.old)).To(BeNumerically("<=", 2*maxRecent))
	g.Expect(r.has(row(fmt.Sprint(3*maxRecent), "1"))).To(BeTrue())
}

// TestAStatusHasRoomForWhatIsNoted, whatever came back at once.
func TestAStatusHasRoomForWhatIsNoted(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	p := New(clocktesting.NewFakePassiveClock(time.Now()), 1).of(types.NamespacedName{Name: "set"}, "uid")
	for i := range maxNoted + 1 {
		p.inFlight[fmt.Sprintf("d%05d", i)] = struct{}{}
		p.example(fmt.Sprintf("d%05d", i), "RejectedByDevice", strings.Repeat("nö ", 200))
	}
	g.Expect(p.noted()).To(HaveLen(maxNoted))
	g.Expect(p.examples).To(HaveLen(maxExamples))
	g.Expect(utf8.RuneCountInString(p.examples[0].Message)).To(BeNumerically("<=", 256))
	g.Expect(utf8.ValidString(p.examples[0].Message)).To(BeTrue())
	p.example("d00000", "NotAcknowledged", "")
	g.Expect(p.examples).To(HaveLen(maxExamples))
	g.Expect(p.examples[0].Reason).To(Equal("NotAcknowledged"), "the last of each device")
}

// TestASetOfTheSameNameBeginsAnew, and one that is gone leaves nothing.
func TestASetOfTheSameNameBeginsAnew(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	s := New(clocktesting.NewFakePassiveClock(time.Now()), 1)
	name := types.NamespacedName{Namespace: "plant", Name: "set"}
	s.of(name, "one").revision = "r1"
	g.Expect(s.of(name, "one").revision).To(Equal("r1"))
	g.Expect(s.of(name, "two").revision).To(BeEmpty())
	g.Expect(s.Forget(name)).To(BeEquivalentTo("two"))
	g.Expect(s.known).To(BeEmpty())
	g.Expect(s.begin("hub")).To(BeTrue())
	g.Expect(s.begin("hub")).To(BeFalse(), "its place is taken")
	g.Expect(s.begin("another")).To(BeTrue())
	s.end("hub")
	g.Expect(s.begin("hub")).To(BeTrue())
}

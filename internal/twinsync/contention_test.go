package twinsync

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// reversal is a leaf that another writer changed.
func reversal(t *testing.T, path string) twin.Differences {
	t.Helper()
	parsed, err := twin.ParsePath(path)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return twin.Differences{{Path: parsed, Declared: "ours", Held: "theirs", Drift: true}}
}

// TestTheWaitBetweenRestorations doubles: the third reversal is the first to wait, up to an hour.
func TestTheWaitBetweenRestorations(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	c := NewContention(clock)
	leaf, other := reversal(t, "tags.a"), reversal(t, "tags.b")
	minutes := []int{0, 1, 2, 4, 8, 16, 32, 60, 60}
	for range 20 {
		minutes = append(minutes, 60)
	}
	for i, want := range minutes {
		c.restored("uid", leaf, twin.Stamps{})
		wait := time.Duration(want) * time.Minute
		fought := c.Of("uid")
		message, got := fought.Leaves, fought.Wait
		if i+1 < contendedAfter {
			g.Expect(message).To(BeEmpty(), "not contended yet")
			c.waits("uid", other, twin.Stamps{})
			message = c.Of("uid").Leaves
			g.Expect(message).To(BeEmpty(), "what is not contended does not wait")
		} else {
			g.Expect(message).To(Equal(`tags.a (declared "ours", held "theirs")`))
			g.Expect(got).To(Equal(wait), "after %d", i+1)
		}
		if want == 0 {
			g.Expect(c.postponed("uid")(leaf[0].Path)).To(BeFalse())
			continue
		}
		g.Expect(c.postponed("uid")(other[0].Path)).To(BeFalse())
		clock.SetTime(clock.Now().Add(wait - time.Nanosecond))
		g.Expect(c.postponed("uid")(leaf[0].Path)).To(BeTrue())
		clock.SetTime(clock.Now().Add(time.Nanosecond))
		g.Expect(c.postponed("uid")(leaf[0].Path)).To(BeFalse())
	}
}

// TestTheThirdReversalIsContention, also while it waits to be restored.
func TestTheThirdReversalIsContention(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	c := NewContention(clock)
	leaf := reversal(t, "tags.a")
	c.restored("uid", leaf, twin.Stamps{})
	c.restored("uid", leaf, twin.Stamps{})
	clock.SetTime(clock.Now().Add(10 * time.Second))
	leaf[0].Held = "theirs again"
	c.waits("uid", leaf, twin.Stamps{})
	fought := c.Of("uid")
	message, wait := fought.Leaves, fought.Wait
	g.Expect(message).To(Equal(`tags.a (declared "ours", held "theirs again")`))
	g.Expect(wait).To(Equal(50 * time.Second))
}

// TestAWarIsOver after an hour of peace, or twice the wait where that is longer.
func TestAWarIsOver(t *testing.T) {
	t.Parallel()
	for reversals, peace := range map[int]time.Duration{3: time.Hour, 7: 64 * time.Minute, 12: 2 * time.Hour} {
		g := NewWithT(t)
		clock := clocktesting.NewFakePassiveClock(time.Now())
		c := NewContention(clock)
		for range reversals {
			c.restored("uid", reversal(t, "tags.a"), twin.Stamps{})
		}
		clock.SetTime(clock.Now().Add(peace))
		message := c.Of("uid").Leaves
		g.Expect(message).NotTo(BeEmpty(), "%d", reversals)
		clock.SetTime(clock.Now().Add(time.Nanosecond))
		message = c.Of("uid").Leaves
		g.Expect(message).To(BeEmpty(), "%d", reversals)
		g.Expect(c.histories).To(BeEmpty())
	}
}

// TestReversalsFarApartAreNoWar: neither once an hour, nor of different leaves or
// objects.
func TestReversalsFarApartAreNoWar(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	c := NewContention(clock)
	for range 5 {
		c.restored("uid", reversal(t, "tags.a"), twin.Stamps{})
		clock.SetTime(clock.Now().Add(time.Hour + time.Second))
	}
	for _, leaf := range []string{"tags.a", "tags.b", "desired.a"} {
		c.restored("uid", reversal(t, leaf), twin.Stamps{})
		c.restored("another", reversal(t, leaf), twin.Stamps{})
	}
	fought := c.Of("uid")
	message, wait := fought.Leaves, fought.Wait
	g.Expect(message).To(BeEmpty())
	g.Expect(wait).To(BeZero())
	c.Forget(types.NamespacedName{}, "uid")
	g.Expect(c.histories).To(HaveLen(1))
}

// TestAWarNamesTheConfigurationThatWages it, where the hub tells.
func TestAWarNamesTheConfigurationThatWages(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	c := NewContention(clocktesting.NewFakePassiveClock(time.Now()))
	fan, tag := reversal(t, "desired.fan"), reversal(t, "tags.a")
	held := twin.Stamps{Members: map[string]twin.Stamps{"fan": {By: "fan-rollout"}}}
	for range contendedAfter {
		c.restored("uid", tag, held)
	}
	g.Expect(c.Of("uid").Advice()).To(Equal("Find the other writer, or set a policy"))
	for range contendedAfter {
		c.restored("uid", fan, held)
	}
	fought := c.Of("uid")
	g.Expect(fought.Leaves).To(Equal(`desired.fan (declared "ours", held "theirs"), by configuration "fan-rollout", tags.a (declared "ours", held "theirs")`))
	g.Expect(fought.Advice()).To(HavePrefix(`Change configuration "fan-rollout" at the hub`))
	c.waits("uid", fan, twin.Stamps{})
	g.Expect(c.Of("uid").By).To(BeEmpty(), "another one writes it now")
}

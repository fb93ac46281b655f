package controllers

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

func TestWaitingForATurnIsNoPartOfADeletionsTime(t *testing.T) {
	t.Parallel()
	const timeout = 10 * time.Minute
	for name, tt := range map[string]struct {
		// visits are the minutes between them, negative where the object then waits for
		// a permit alone.
		visits []int
		left   time.Duration
	}{
		"the first visit":               {[]int{0}, timeout},
		"an outage":                     {[]int{0, 2, 3}, 5 * time.Minute},
		"a turn":                        {[]int{-1, -100, -100}, timeout},
		"an outage after a turn":        {[]int{-1, 100, 4}, 6 * time.Minute},
		"a turn after an outage":        {[]int{0, 4, -1, -100}, 5 * time.Minute},
		"turns that end in failures":    {[]int{0, -1, 100, -1, 100, -1}, 7 * time.Minute},
		"an outage that lasts too long": {[]int{0, 11}, -time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			clock := clocktesting.NewFakePassiveClock(time.Now())
			d := newDeletions(clock, timeout)
			obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "t1", UID: "uid"}}
			var left time.Duration
			for _, minutes := range tt.visits {
				clock.SetTime(clock.Now().Add(time.Duration(max(minutes, -minutes)) * time.Minute))
				left = d.remaining(obj, minutes < 0)
			}
			g.Expect(left).To(Equal(tt.left))
			again := obj.DeepCopy()
			again.UID = "another"
			g.Expect(d.remaining(again, false)).To(Equal(timeout), "a namesake has all its time")
			d.end(again)
			g.Expect(d.over(again)).To(BeTrue())
			g.Expect(d.over(obj)).To(BeFalse())
			d.Forget(client.ObjectKeyFromObject(obj), obj.UID)
			g.Expect(d.known).To(BeEmpty())
		})
	}
}

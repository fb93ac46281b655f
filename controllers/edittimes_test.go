package controllers

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestAnEditWaitsSinceTheFirstOne, until it is taken or its object is gone.
func TestAnEditWaitsSinceTheFirstOne(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	edits, name := newEditTimes(now), types.NamespacedName{Namespace: "plant", Name: "press"}
	_, ok := edits.take(name, now.Now())
	g.Expect(ok).To(BeFalse())
	began := now.Now().Add(-time.Second)
	edits.note(name)
	_, ok = edits.take(name, began)
	g.Expect(ok).To(BeFalse(), "the reconcile had begun before")
	now.SetTime(now.Now().Add(time.Minute))
	edits.note(name)
	now.SetTime(now.Now().Add(time.Second))
	waited, ok := edits.take(name, now.Now())
	g.Expect(ok).To(BeTrue())
	g.Expect(waited).To(Equal(61 * time.Second))
	edits.note(name)
	edits.Forget(name, "")
	_, ok = edits.take(name, now.Now())
	g.Expect(ok).To(BeFalse())
}

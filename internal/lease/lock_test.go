package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"
)

const duration = 15 * time.Second

// election is the Lease of two processes.
func election(t *testing.T) (clock *clocktesting.FakePassiveClock, first, second *Lock) {
	t.Helper()
	clock = clocktesting.NewFakePassiveClock(time.Now())
	kube := fake.NewClientset()
	of := func(identity string) *Lock {
		return New(&resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: "ns", Name: "lease"},
			Client:     kube.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}, duration, clock)
	}
	return clock, of("first"), of("second")
}

func held(identity string) resourcelock.LeaderElectionRecord {
	return resourcelock.LeaderElectionRecord{HolderIdentity: identity, LeaseDurationSeconds: 15}
}

func TestALeaseIsHeldUntilItMayHaveRunOut(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock, first, _ := election(t)
	g.Expect(first.Check()).To(MatchError(ErrNotHeld), "it is not elected yet")
	g.Expect(first.Create(t.Context(), held("first"))).To(Succeed())
	g.Expect(first.Check()).To(Succeed())
	clock.SetTime(clock.Now().Add(duration - time.Nanosecond))
	g.Expect(first.Check()).To(Succeed())
	clock.SetTime(clock.Now().Add(time.Nanosecond))
	g.Expect(first.Check()).To(MatchError(ErrNotHeld), "it was paused")
	_, _, err := first.Get(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(first.Update(t.Context(), held("first"))).To(Succeed())
	g.Expect(first.Check()).To(Succeed())
}

func TestALeaseThatIsReleasedIsNotHeld(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, first, second := election(t)
	g.Expect(first.Create(t.Context(), held("first"))).To(Succeed())
	g.Expect(first.Update(t.Context(), held(""))).To(Succeed())
	g.Expect(first.Check()).To(MatchError(ErrNotHeld))
	_, _, err := second.Get(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(second.Update(t.Context(), held("second"))).To(Succeed())
	g.Expect(second.Check()).To(Succeed())
	g.Expect(first.Check()).To(MatchError(ErrNotHeld))
}

// slow is a lock whose writes take time, and fail when told to.
type slow struct {
	resourcelock.Interface
	clock *clocktesting.FakePassiveClock
	takes time.Duration
	err   error
}

func (s *slow) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	s.clock.SetTime(s.clock.Now().Add(s.takes))
	if s.err != nil {
		return s.err
	}
	return s.Interface.Update(ctx, record)
}

func TestARenewalCountsFromWhenItWasBegun(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock, first, _ := election(t)
	g.Expect(first.Create(t.Context(), held("first"))).To(Succeed())
	lost := errors.New("the answer is lost")
	between := &slow{Interface: first.Interface, clock: clock, takes: duration / 2, err: lost}
	first.Interface = between
	g.Expect(first.Update(t.Context(), held("first"))).To(MatchError(lost))
	g.Expect(first.Check()).To(Succeed(), "the one before lasts")
	between.err = nil
	g.Expect(first.Update(t.Context(), held("first"))).To(Succeed())
	clock.SetTime(clock.Now().Add(duration / 2))
	g.Expect(first.Check()).To(MatchError(ErrNotHeld))
}

func TestWithoutALeaseThereIsNothingToLose(t *testing.T) {
	t.Parallel()
	var none *Lock
	NewWithT(t).Expect(none.Check()).To(Succeed())
}

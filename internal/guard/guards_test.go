package guard

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// guarded is one HubConnection and its fuse.
type guarded struct {
	WithT
	t      *testing.T
	clock  *clocktesting.FakePassiveClock
	guards *Guards
	conn   *v1alpha1.HubConnection
	calls  int
}

func newGuarded(t *testing.T, limit int32) *guarded {
	t.Helper()
	clock := clocktesting.NewFakePassiveClock(time.Now())
	x := &guarded{WithT: *NewWithT(t), t: t, clock: clock, conn: &v1alpha1.HubConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "hub"},
	}}
	x.restart()
	x.conn.Spec.Guard = &v1alpha1.Guard{MaxChangesPerHour: limit}
	x.configure()
	return x
}

// restart forgets all but what the HubConnection says.
func (x *guarded) restart() {
	x.guards = New(x.clock, func(types.NamespacedName) { x.calls++ })
}

// configure takes over the HubConnection as it is, and tells whether changes may go
// on that had to wait.
func (x *guarded) configure() bool {
	x.t.Helper()
	state, released := x.guards.Configure(x.conn, x.key())
	x.conn.Status.Guard = state
	return released
}

func (x *guarded) key() types.NamespacedName { return client.ObjectKeyFromObject(x.conn) }

// change asks whether a twin may be changed.
func (x *guarded) change(uid string) bool {
	x.t.Helper()
	err := x.guards.Admit(x.key(), types.UID(uid), types.UID(uid))
	if err != nil {
		x.Expect(outcome.Of(err).Reason).To(Equal(v1alpha1.ReasonHubPaused))
	}
	return err == nil
}

func TestAGuardCountsTwinsWithinAnHour(t *testing.T) {
	t.Parallel()
	x := newGuarded(t, 2)
	for range 3 {
		x.Expect(x.change("a")).To(BeTrue(), "one twin counts once")
	}
	x.Expect(x.change("b")).To(BeTrue())
	x.clock.SetTime(x.clock.Now().Add(time.Hour))
	x.Expect(x.change("c")).To(BeTrue(), "an hour later")
	x.Expect(x.change("d")).To(BeTrue())
	x.Expect(x.calls).To(BeZero())
	x.Expect(x.change("e")).To(BeFalse())
	x.Expect(x.change("c")).To(BeFalse(), "then nothing passes")
	x.Expect(x.calls).To(Equal(1), "reported once")
	x.configure()
	x.Expect(x.conn.Status.Guard.Waiting).To(BeEquivalentTo(2))
	x.guards.Settled(x.key(), "c")
	x.configure()
	x.Expect(x.conn.Status.Guard.Waiting).To(BeEquivalentTo(1))
	x.guards.Forget(types.NamespacedName{}, "e")
	x.configure()
	x.Expect(x.conn.Status.Guard.Waiting).To(BeZero())
	x.clock.SetTime(x.clock.Now().Add(24 * time.Hour))
	x.Expect(x.change("f")).To(BeFalse(), "time alone resumes nothing")
}

func TestTheUserResumesChanges(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		act     func(*v1alpha1.HubConnection)
		goesOn  bool
		forever bool // no guard any more
	}{
		"not by itself":        {func(*v1alpha1.HubConnection) {}, false, false},
		"by the annotation":    {func(c *v1alpha1.HubConnection) { c.Annotations = map[string]string{v1alpha1.GuardResetAnnotation: "2"} }, true, false},
		"by another limit":     {func(c *v1alpha1.HubConnection) { c.Spec.Guard.MaxChangesPerHour = 3 }, true, false},
		"by taking it away":    {func(c *v1alpha1.HubConnection) { c.Spec.Guard = nil }, true, true},
		"not by the same word": {func(c *v1alpha1.HubConnection) { c.Annotations = map[string]string{v1alpha1.GuardResetAnnotation: "1"} }, false, false},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarted: %v", name, restarted), func(t *testing.T) {
				t.Parallel()
				x := newGuarded(t, 2)
				x.conn.Annotations = map[string]string{v1alpha1.GuardResetAnnotation: "1"}
				x.Expect(x.configure()).To(BeFalse(), "nothing was stopped")
				for _, uid := range []string{"a", "b", "c"} {
					x.change(uid)
				}
				x.Expect(x.configure()).To(BeFalse())
				x.Expect(x.conn.Status.Guard.TrippedAt).NotTo(BeNil())
				x.Expect(x.conn.Status.Guard.Limit).To(BeEquivalentTo(2))
				if restarted {
					x.restart()
				}
				tt.act(x.conn)
				x.Expect(x.configure()).To(Equal(tt.goesOn))
				x.Expect(x.configure()).To(BeFalse(), "reported once")
				x.Expect(x.change("c")).To(Equal(tt.goesOn))
				x.Expect(ptr.Deref(x.conn.Status.Guard, v1alpha1.GuardStatus{}).TrippedAt == nil).To(Equal(tt.goesOn))
				for i := range 10 {
					x.change(fmt.Sprint(i))
				}
				x.Expect(x.change("z")).To(Equal(tt.forever))
			})
		}
	}
}

// TestAResetThatIsTakenOffResetsNothing: tools that know only what is in Git take
// annotations off, and put an old one on again.
func TestAResetThatIsTakenOffResetsNothing(t *testing.T) {
	t.Parallel()
	x := newGuarded(t, 1)
	x.conn.Annotations = map[string]string{v1alpha1.GuardResetAnnotation: "last Monday"}
	x.configure()
	x.Expect(x.change("a")).To(BeTrue())
	x.Expect(x.change("b")).To(BeFalse(), "it blew")
	for _, annotations := range []map[string]string{nil, {v1alpha1.GuardResetAnnotation: ""}, {v1alpha1.GuardResetAnnotation: "last Monday"}} {
		x.conn.Annotations = annotations
		x.configure()
		x.Expect(x.conn.Status.Guard.TrippedAt).NotTo(BeNil(), "%v: no user has let the changes go on", annotations)
		x.Expect(x.conn.Status.Guard.LastHandledReset).To(Equal("last Monday"))
	}
	x.conn.Annotations = map[string]string{v1alpha1.GuardResetAnnotation: "today"}
	x.configure()
	x.Expect(x.conn.Status.Guard.TrippedAt).To(BeNil())
}

package membership

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

// fixture has the memberships of the DeviceTwin plant/t1, of device d1 at the hub of
// HubConnection plant/hub, in the TwinQueries plant/a and plant/b.
type fixture struct {
	*testing.T
	WithT
	*Memberships
	changed, answered chan types.NamespacedName
}

var hubKey = types.NamespacedName{Namespace: "plant", Name: "hub"}

// named is a TwinQuery.
func named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "plant", Name: name}
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, WithT: *NewWithT(t), changed: make(chan types.NamespacedName, 100), answered: make(chan types.NamespacedName, 100)}
	// Each needs the lock, which must not be held when they are called.
	told := func(who chan types.NamespacedName) func(types.NamespacedName) {
		return func(name types.NamespacedName) { f.Drop(named("another")); who <- name }
	}
	f.Memberships = New(Options{
		Clock: clock.RealClock{}, Timers: clock.RealClock{}, Reader: objects{}, Pages: 1,
		Changed: told(f.changed), Answered: told(f.answered), Disagreed: func() { f.Drop(named("another")) },
	})
	return f
}

// start has the scans made, until the function is called that it returns.
func (f *fixture) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- f.Start(ctx) }()
	return func() {
		cancel()
		f.Eventually(ended).Should(Receive(BeNil()))
	}
}

// evaluate has a TwinQuery ask through a HubConnection.
func (f *fixture) evaluate(name string, conn types.NamespacedName, at hub.Session, text string) (Evaluation, error) {
	condition, err := query.ParseCondition(text)
	f.Expect(err).NotTo(HaveOccurred())
	return f.Evaluate(f.Context(), named(name), Query{Hub: hubaccess.Hub{Key: conn, Session: at}, From: hub.Devices, Condition: condition},
		time.Hour, func() (*dispatch.Permit, error) { return nil, nil })
}

// asks has a TwinQuery ask, and show what the hub answered.
func (f *fixture) asks(name string, conn types.NamespacedName, at hub.Session, text string) Evaluation {
	f.Helper()
	found, err := f.evaluate(name, conn, at, text)
	f.Expect(err).NotTo(HaveOccurred())
	f.Set(f.Context(), named(name), found)
	return found
}

// of are the TwinQueries that select t1, whose status names some.
func (f *fixture) of(before ...string) []string {
	obj := t1()
	obj.Status.Memberships = before
	names, err := f.Of(f.Context(), &obj, hubKey)
	f.Expect(err).NotTo(HaveOccurred())
	return names
}

func t1() v1alpha1.DeviceTwin {
	obj := v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "t1"}}
	obj.Spec.HubRef.Name, obj.Spec.DeviceID = hubKey.Name, "d1"
	return obj
}

// objects is a cache with the objects of a fixture.
type objects struct{ client.Reader }

func (objects) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch list := list.(type) {
	case *v1alpha1.DeviceTwinList:
		list.Items = []v1alpha1.DeviceTwin{t1()}
	case *v1alpha1.TwinQueryList:
		for _, name := range []string{"a", "b"} {
			list.Items = append(list.Items, v1alpha1.TwinQuery{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name}})
		}
	}
	return nil
}

// small is a hub of which some devices satisfy every condition. It tells of each time that it
// is asked, and answers then.
type small struct {
	sessions.Session
	devices []hub.ID
	asked   chan string
}

func newSmall(devices ...hub.ID) small { return small{devices: devices, asked: make(chan string)} }

func (s small) FindIDs(_ context.Context, selection hub.Selection, seen func([]hub.ID) error) error {
	s.asked <- selection.Where
	return seen(s.devices)
}

// TestAQuestionIsAskedOnce: another one that asks it meanwhile is triggered when it was
// answered, and is told that answer.
func TestAQuestionIsAskedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newSmall(hub.ID{Device: "d1"})
	first := make(chan error)
	go func() {
		_, err := f.evaluate("a", hubKey, s, "true")
		first <- err
	}()
	f.Eventually(func() bool {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return f.users[named("a")].asks != nil
	}).Should(BeTrue())
	for _, name := range []string{"b", "gone"} {
		_, err := f.evaluate(name, hubKey, s, "true")
		f.Expect(outcome.Of(err).Class).To(Equal(outcome.Unseen))
	}
	f.Forget(t.Context(), named("gone"))
	f.Expect(f.answered).NotTo(Receive())
	f.Eventually(s.asked).Should(Receive())
	f.Eventually(first).Should(Receive(BeNil()))
	f.Eventually(f.answered).Should(Receive(Equal(named("b"))))
	found, err := f.evaluate("b", hubKey, s, "true")
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(found.Devices).To(Equal([]string{"d1"}))
	f.Expect(f.answered).NotTo(Receive(), "nothing is told twice, or of what is gone")
}

// TestWhoJoinsOrLeavesIsTriggered, and is a member meanwhile as its status says.
func TestWhoJoinsOrLeavesIsTriggered(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newSmall(hub.ID{Device: "d1"})
	go func() {
		for range s.asked {
		}
	}()
	t.Cleanup(func() { close(s.asked) })
	f.Expect(f.of("b")).To(Equal([]string{"b"}), "it was not answered yet")
	f.asks("a", hubKey, s, "true")
	f.Eventually(f.changed).Should(Receive(Equal(named("t1"))))
	f.Expect(f.of()).To(Equal([]string{"a"}))

	_, err := f.evaluate("a", hubKey, s, "false")
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(f.of()).To(Equal([]string{"a"}), "its status does not say so yet")
	f.Set(t.Context(), named("a"), Evaluation{})
	f.Eventually(f.changed).Should(Receive(Equal(named("t1"))))
	f.Expect(f.of("a")).To(BeEmpty(), "it cannot be asked")

	f.asks("a", hubKey, s, "true")
	f.Eventually(f.changed).Should(Receive())
	f.Forget(t.Context(), named("a"))
	f.Eventually(f.changed).Should(Receive(Equal(named("t1"))))
}

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
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

// TestAnAnswerGoesWithItsLastUser, and the scan for it.
func TestAnAnswerGoesWithItsLastUser(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var left []key
	a := newCache(clock.RealClock{}, 10, func(types.NamespacedName) {}, func(q key) { left = append(left, q) })
	asked := func(name string, q key) {
		_, _, err := a.answer(q, types.NamespacedName{Name: name}, time.Minute, func(bool) (Result, error) { return Result{Count: 1}, nil })
		g.Expect(err).NotTo(HaveOccurred())
	}
	one, another := key{text: "one"}, key{text: "another"}
	asked("a", one)
	asked("a", one)
	asked("b", one)
	asked("a", another)
	g.Expect(left).To(BeEmpty(), "b asks it still")
	asked("b", another)
	g.Expect(left).To(Equal([]key{one}))
	a.forget(types.NamespacedName{Name: "a"})
	a.forget(types.NamespacedName{Name: "a"})
	g.Expect(a.known).To(HaveLen(1))
	a.forget(types.NamespacedName{Name: "b"})
	g.Expect(left).To(Equal([]key{one, another}))
	g.Expect(a.known).To(BeEmpty())
	g.Expect(a.asks).To(BeEmpty())
}

// large is an evaluation whose answer is too large to list.
func large(t *testing.T, q key, session hub.Session) Evaluation {
	t.Helper()
	condition, err := query.ParseCondition(q.text)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return Evaluation{
		Query:  Query{Hub: hubaccess.Hub{Key: q.hub, Session: session}, From: q.from, Condition: condition},
		Result: Result{Large: true, Count: 1}, question: q,
	}
}

// endless is a hub whose answer to a query goes on until its caller is called off.
type endless struct {
	sessions.Session
	asked, ended chan struct{}
}

func (e endless) FindIDs(ctx context.Context, _ hub.Selection, _ func([]hub.ID) error) error {
	e.asked <- struct{}{}
	<-ctx.Done()
	e.ended <- struct{}{}
	return ctx.Err()
}

// oneTwin is a cache with one DeviceTwin.
type oneTwin struct{ client.Reader }

func (oneTwin) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if twins, ok := list.(*v1alpha1.DeviceTwinList); ok {
		obj := v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: "t1"}}
		obj.Spec.HubRef.Name, obj.Spec.DeviceID = "hub", "d1"
		twins.Items = []v1alpha1.DeviceTwin{obj}
	}
	return nil
}

// TestAScanEndsWithWhatItIsFor: its last TwinQuery, or its HubConnection.
func TestAScanEndsWithWhatItIsFor(t *testing.T) {
	t.Parallel()
	q := key{hub: types.NamespacedName{Namespace: "plant", Name: "hub"}, from: hub.Devices, text: "true"}
	for name, end := range map[string]func(*scanner){
		"TwinQuery":     func(l *scanner) { l.forget(q) },
		"HubConnection": func(l *scanner) { l.forgetHub(q.hub) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			l := newScanner(t.Context(), clock.RealClock{}, clock.RealClock{}, oneTwin{}, func(context.Context, key, []string, time.Time) {})
			s := endless{sessions.To("h", dispatch.New(dispatch.Options{}).Share(dispatch.S1())), make(chan struct{}, 1), make(chan struct{}, 1)}
			l.scan(large(t, q, s), time.Minute, true)
			g.Eventually(s.asked).Should(Receive())
			end(l)
			g.Eventually(s.ended).Should(Receive())
			l.wait.Wait()
			g.Expect(l.known).To(BeEmpty())
			g.Expect(l.hubs).To(BeEmpty())
		})
	}
}

// TestAScanThatHangsHoldsUpNoOtherHubConnection, though both lead to one hub.
func TestAScanThatHangsHoldsUpNoOtherHubConnection(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	l := newScanner(t.Context(), clock.RealClock{}, clock.RealClock{}, oneTwin{}, func(context.Context, key, []string, time.Time) {})
	start := func(name string) (key, endless) {
		q := key{hub: types.NamespacedName{Namespace: "plant", Name: name}, from: hub.Devices, text: "true"}
		s := endless{sessions.To("h", dispatch.New(dispatch.Options{}).Share(dispatch.S1())), make(chan struct{}, 1), make(chan struct{}, 1)}
		l.scan(large(t, q, s), time.Minute, true)
		return q, s
	}
	first, hangs := start("first")
	g.Eventually(hangs.asked).Should(Receive())
	second, goesOn := start("second")
	g.Eventually(goesOn.asked).Should(Receive())
	l.forget(first)
	l.forget(second)
	l.wait.Wait()
	g.Expect(l.hubs).To(BeEmpty())
}

package controllers

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
)

// TestAnAnswerGoesWithItsLastUser, and the look for it.
func TestAnAnswerGoesWithItsLastUser(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var left []question
	a := newAskings(clock.RealClock{}, 10, func(types.NamespacedName) {}, func(q question) { left = append(left, q) })
	asked := func(name string, q question) {
		_, _, err := a.answer(q, types.NamespacedName{Name: name}, time.Minute, func(bool) (reply, error) { return reply{count: 1}, nil })
		g.Expect(err).NotTo(HaveOccurred())
	}
	one, another := question{text: "one"}, question{text: "another"}
	asked("a", one)
	asked("a", one)
	asked("b", one)
	asked("a", another)
	g.Expect(left).To(BeEmpty(), "b asks it still")
	asked("b", another)
	g.Expect(left).To(Equal([]question{one}))
	a.forget(types.NamespacedName{Name: "a"})
	a.forget(types.NamespacedName{Name: "a"})
	g.Expect(a.known).To(HaveLen(1))
	a.forget(types.NamespacedName{Name: "b"})
	g.Expect(left).To(Equal([]question{one, another}))
	g.Expect(a.known).To(BeEmpty())
	g.Expect(a.asks).To(BeEmpty())
}

// endless is a hub whose answer to a query goes on until its caller is called off.
type endless struct {
	servedBy
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

// TestALookEndsWithWhatItIsFor: its last TwinQuery, or its HubConnection.
func TestALookEndsWithWhatItIsFor(t *testing.T) {
	t.Parallel()
	q := question{hub: types.NamespacedName{Namespace: "plant", Name: "hub"}, from: hub.Devices, text: "true"}
	for name, end := range map[string]func(*looks){
		"TwinQuery":     func(l *looks) { l.forget(q) },
		"HubConnection": func(l *looks) { l.forgetHub(q.hub) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			l := newLooks(t.Context(), clock.RealClock{}, clock.RealClock{}, oneTwin{}, func(context.Context, question, []string, time.Time) {})
			s := endless{servedBy{hostOnly{host: "h"}, dispatch.New(dispatch.Options{}).Share(dispatch.S1())}, make(chan struct{}, 1), make(chan struct{}, 1)}
			l.look(finding{question: q, session: s, said: reply{large: true, count: 1}}, time.Minute, true)
			g.Eventually(s.asked).Should(Receive())
			end(l)
			g.Eventually(s.ended).Should(Receive())
			l.wait.Wait()
			g.Expect(l.known).To(BeEmpty())
			g.Expect(l.hubs).To(BeEmpty())
		})
	}
}

// TestALookThatHangsHoldsUpNoOtherHubConnection, though both lead to one hub.
func TestALookThatHangsHoldsUpNoOtherHubConnection(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	l := newLooks(t.Context(), clock.RealClock{}, clock.RealClock{}, oneTwin{}, func(context.Context, question, []string, time.Time) {})
	start := func(name string) (question, endless) {
		q := question{hub: types.NamespacedName{Namespace: "plant", Name: name}, from: hub.Devices, text: "true"}
		s := endless{servedBy{hostOnly{host: "h"}, dispatch.New(dispatch.Options{}).Share(dispatch.S1())}, make(chan struct{}, 1), make(chan struct{}, 1)}
		l.look(finding{question: q, session: s, said: reply{large: true, count: 1}}, time.Minute, true)
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

package trigger_test

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
)

func named(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "plant", Name: name}
}

func twin(name string) *v1alpha1.DeviceTwin {
	return &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: "plant", Name: name}}
}

// item is one object as a controller takes it from its queue.
type item struct {
	name     string
	priority int
}

// controllerQueue returns a queue as a controller has it, and what comes out of it next.
func controllerQueue(t *testing.T) (priorityqueue.PriorityQueue[reconcile.Request], func() item) {
	t.Helper()
	queue := priorityqueue.New[reconcile.Request](t.Name())
	t.Cleanup(queue.ShutDown)
	return queue, func() item {
		request, priority, _ := queue.GetWithPriority()
		queue.Done(request)
		return item{request.Name, priority}
	}
}

// TestAQueueIsServedByPriority once its controller has started; before that nothing waits.
func TestAQueueIsServedByPriority(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var queue trigger.Queue
	queue.Enqueue(named("early"), trigger.Edit)
	controller, next := controllerQueue(t)
	g.Expect(queue.Source().Start(t.Context(), controller)).To(Succeed())
	queue.Enqueue(named("seldom"), trigger.ReadBack)
	queue.Enqueue(named("edited"), trigger.Edit)
	queue.Enqueue(named("seldom"), trigger.Drift)
	g.Expect([]item{next(), next()}).To(Equal([]item{{"edited", trigger.Edit}, {"seldom", trigger.Drift}}), "the higher priority counts")
}

// TestWhatTheUserDidIsUrgent: it is reported with its priority; what is there at the start is not.
func TestWhatTheUserDidIsUrgent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		happen func(queue priorityqueue.PriorityQueue[reconcile.Request], urgent func(types.NamespacedName, int))
		want   int
		urgent bool
	}{
		"there at the start": {func(q priorityqueue.PriorityQueue[reconcile.Request], urgent func(types.NamespacedName, int)) {
			trigger.Edits(urgent).Create(t.Context(), event.CreateEvent{Object: twin("t1"), IsInInitialList: true}, q)
		}, trigger.News, false},
		"created": {func(q priorityqueue.PriorityQueue[reconcile.Request], urgent func(types.NamespacedName, int)) {
			trigger.Edits(urgent).Create(t.Context(), event.CreateEvent{Object: twin("t1")}, q)
		}, trigger.Create, true},
		"edited": {func(q priorityqueue.PriorityQueue[reconcile.Request], urgent func(types.NamespacedName, int)) {
			trigger.Edits(urgent).Update(t.Context(), event.UpdateEvent{ObjectOld: twin("t1"), ObjectNew: twin("t1")}, q)
		}, trigger.Edit, true},
		"deleted": {func(q priorityqueue.PriorityQueue[reconcile.Request], urgent func(types.NamespacedName, int)) {
			trigger.Edits(urgent).Delete(t.Context(), event.DeleteEvent{Object: twin("t1")}, q)
		}, trigger.Edit, false},
		"news of another object": {func(q priorityqueue.PriorityQueue[reconcile.Request], _ func(types.NamespacedName, int)) {
			find := func(_ context.Context, obj client.Object) []reconcile.Request {
				return []reconcile.Request{{NamespacedName: named("t" + obj.GetName())}}
			}
			trigger.Mapped(find, trigger.News).Update(t.Context(), event.UpdateEvent{ObjectOld: twin("0"), ObjectNew: twin("1")}, q)
		}, trigger.News, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			queue, next := controllerQueue(t)
			reported := map[types.NamespacedName]int{}
			tt.happen(queue, func(name types.NamespacedName, priority int) { reported[name] = priority })
			g.Expect(next()).To(Equal(item{"t1", tt.want}))
			if tt.urgent {
				g.Expect(reported).To(Equal(map[types.NamespacedName]int{named("t1"): tt.want}))
			} else {
				g.Expect(reported).To(BeEmpty())
			}
		})
	}
}

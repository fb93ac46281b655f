package hubqueue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
)

// Session is what a permit is acquired through.
type Session interface {
	Dispatcher() *dispatch.Share
}

// Queue has objects of one kind wait for a permit at their hub. It is safe for concurrent
// use.
type Queue struct {
	sessions *hub.Pool
	// kind of the objects, and of the permits that they acquire.
	kind string
	of   dispatch.Kind

	ready *trigger.Queue

	mu sync.Mutex
	// urgent is what the user did to an object since it was last reconciled with
	// success: a reconciler does not learn with which priority it was called.
	urgent map[types.NamespacedName]int
}

// New returns a queue for objects of a kind, which acquire permits of a kind.
func New(sessions *hub.Pool, kind string, of dispatch.Kind) *Queue {
	return &Queue{sessions: sessions, kind: kind, of: of, ready: &trigger.Queue{}, urgent: map[types.NamespacedName]int{}}
}

// Ready triggers the objects that have a permit.
func (q *Queue) Ready() *trigger.Queue { return q.ready }

// Mark notes that the user did something to an object.
func (q *Queue) Mark(name types.NamespacedName, priority int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.urgent[name] = max(q.urgent[name], priority)
}

// Served notes that what the user did has been reconciled.
func (q *Queue) Served(name types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.urgent, name)
}

// Priority is how urgent the user made an object; otherwise it is as urgent as given.
func (q *Queue) Priority(name types.NamespacedName, otherwise int) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if priority, ok := q.urgent[name]; ok {
		return priority
	}
	return otherwise
}

// Next says when to reconcile an object again, and how urgent that is: what the user did
// stays urgent until it has been reconciled.
func (q *Queue) Next(
	ctx context.Context, report outcome.Reporter, name types.NamespacedName, out outcome.Outcome, interval time.Duration,
) (ctrl.Result, error) {
	if out.Class != outcome.Unseen && out.Class != outcome.Transient {
		q.Served(name)
	}
	q.Withdraw(name)
	result, err := report.Next(ctx, out, interval)
	result.Priority = ptr.To(q.Priority(name, *result.Priority))
	return result, err
}

// Withdraw gives up the place of an object that does not wait for a hub any more.
func (q *Queue) Withdraw(name types.NamespacedName) { q.sessions.Withdraw(q.key(name)) }

// Forget drops an object that is gone.
func (q *Queue) Forget(name types.NamespacedName) {
	q.Withdraw(name)
	q.Served(name)
}

func (q *Queue) key(name types.NamespacedName) string { return fmt.Sprintf("%s %s", q.kind, name) }

// Acquire returns a permit at a hub, or outcome.Park().
func (q *Queue) Acquire(obj client.Object, session Session, need dispatch.Need, priority int) (*dispatch.Permit, error) {
	name := client.ObjectKeyFromObject(obj)
	permit, ok := session.Dispatcher().Admit(dispatch.Request{
		Key: q.key(name), Namespace: name.Namespace, Priority: q.Priority(name, priority), Kind: q.of, Need: need,
		Wake: func(priority int) { q.ready.Enqueue(name, priority) },
	})
	if !ok {
		return nil, outcome.Park()
	}
	return permit, nil
}

// needOf is what a reconcile of an object takes, and how urgent it is by what is known of
// it: one that the hub holds as declared is only read.
func needOf(obj *v1alpha1.DeviceTwin) (dispatch.Need, int) {
	synced := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionSynced)
	switch {
	case synced == nil || synced.ObservedGeneration != obj.Generation:
		return dispatch.WriteNeed, trigger.News
	case synced.Status == metav1.ConditionTrue:
		return dispatch.ReadNeed, trigger.ReadBack
	case synced.Reason == v1alpha1.ReasonContended:
		return dispatch.WriteNeed, trigger.Conflict
	}
	return dispatch.WriteNeed, trigger.News
}

// Permit is what one reconcile of a DeviceTwin may ask of its hub.
type Permit struct {
	queue   *Queue
	obj     *v1alpha1.DeviceTwin
	session Session
	permit  *dispatch.Permit
}

// AcquireFor returns a permit for a reconcile of a DeviceTwin. drifts tells that the hub's index shows
// something else than declared.
func (q *Queue) AcquireFor(obj *v1alpha1.DeviceTwin, session Session, drifts bool) (*Permit, error) {
	need, priority := needOf(obj)
	if drifts {
		need, priority = dispatch.WriteNeed, max(priority, trigger.Drift)
	}
	permit, err := q.Acquire(obj, session, need, priority)
	return &Permit{queue: q, obj: obj, session: session, permit: permit}, err
}

// With is the context of a reconcile's requests.
func (p *Permit) With(ctx context.Context) context.Context { return dispatch.With(ctx, p.permit) }

// ToWrite makes sure that a change is permitted. A permit that is only to read is returned,
// and one to write acquired.
func (p *Permit) ToWrite() error {
	if p.permit.Has(dispatch.Updates) {
		return nil
	}
	p.permit.Done()
	var err error
	p.permit, err = p.queue.Acquire(p.obj, p.session, dispatch.WriteNeed, trigger.Drift)
	return err
}

// Release returns the permit.
func (p *Permit) Release() { p.permit.Done() }

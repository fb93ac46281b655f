package controllers

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

// turns has objects of one kind wait for their turn at the hub without a worker.
type turns struct {
	sessions *hub.Pool
	// kind of the objects, and of the turns that they take.
	kind string
	of   dispatch.Kind

	// come is rung for objects whose turn has come.
	come *trigger.Queue

	mu sync.Mutex
	// urgent is what a person did to an object since it was last looked at with
	// success: a reconciler is not told with which priority it was called.
	urgent map[types.NamespacedName]int
}

func newTurns(sessions *hub.Pool, kind string, of dispatch.Kind) *turns {
	return &turns{sessions: sessions, kind: kind, of: of, come: &trigger.Queue{}, urgent: map[types.NamespacedName]int{}}
}

// mark notes that a person did something to an object.
func (t *turns) mark(name types.NamespacedName, priority int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.urgent[name] = max(t.urgent[name], priority)
}

// served notes that what a person did has been looked at.
func (t *turns) served(name types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.urgent, name)
}

// marked is how urgent a person made an object; otherwise it is as urgent as given.
func (t *turns) marked(name types.NamespacedName, otherwise int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if priority, ok := t.urgent[name]; ok {
		return priority
	}
	return otherwise
}

// next says when to visit an object again, and how urgent that is: what a person did
// stays urgent until it has been looked at.
func (t *turns) next(
	ctx context.Context, report outcome.Reporter, name types.NamespacedName, out outcome.Outcome, interval time.Duration,
) (ctrl.Result, error) {
	if out.Class != outcome.Unseen && out.Class != outcome.Transient {
		t.served(name)
	}
	t.withdraw(name)
	result, err := report.Next(ctx, out, interval)
	result.Priority = ptr.To(t.marked(name, *result.Priority))
	return result, err
}

// withdraw gives up the place of an object that does not wait for a hub any more.
func (t *turns) withdraw(name types.NamespacedName) { t.sessions.Withdraw(t.key(name)) }

func (t *turns) key(name types.NamespacedName) string { return fmt.Sprintf("%s %s", t.kind, name) }

// take returns a turn at a hub, or outcome.Park().
func (t *turns) take(obj client.Object, session hub.Session, need dispatch.Need, priority int) (*dispatch.Grant, error) {
	name := client.ObjectKeyFromObject(obj)
	grant, ok := session.Dispatcher().Admit(dispatch.Request{
		Key: t.key(name), Namespace: name.Namespace, Priority: t.marked(name, priority), Kind: t.of, Need: need,
		Wake: func(priority int) { t.come.Enqueue(name, priority) },
	})
	if !ok {
		return nil, outcome.Park()
	}
	return grant, nil
}

// needOf is what a visit to an object takes, and how urgent it is by what is known of
// it: one that the hub holds as declared is only looked at.
func needOf(obj *v1alpha1.DeviceTwin) (dispatch.Need, int) {
	synced := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionSynced)
	switch {
	case synced == nil || synced.ObservedGeneration != obj.Generation:
		return dispatch.LookAndWrite, trigger.News
	case synced.Status == metav1.ConditionTrue:
		return dispatch.Look, trigger.ReadBack
	case synced.Reason == v1alpha1.ReasonContended:
		return dispatch.LookAndWrite, trigger.Conflict
	}
	return dispatch.LookAndWrite, trigger.News
}

// turn is the place at the hub that one visit holds.
type turn struct {
	turns   *turns
	obj     *v1alpha1.DeviceTwin
	session hub.Session
	grant   *dispatch.Grant
}

// begin takes a turn for a visit to an object. drifts tells that the hub's index shows
// something else than declared.
func (t *turns) begin(obj *v1alpha1.DeviceTwin, session hub.Session, drifts bool) (*turn, error) {
	need, priority := needOf(obj)
	if drifts {
		need, priority = dispatch.LookAndWrite, max(priority, trigger.Drift)
	}
	grant, err := t.take(obj, session, need, priority)
	return &turn{turns: t, obj: obj, session: session, grant: grant}, err
}

// with is the context of a visit's requests.
func (t *turn) with(ctx context.Context) context.Context { return dispatch.With(ctx, t.grant) }

// toWrite makes sure that there is a change to be had. A visit that only came to look
// gives its turn back, and asks for one to write.
func (t *turn) toWrite() error {
	if t.grant.Has(dispatch.Updates) {
		return nil
	}
	t.grant.Done()
	var err error
	t.grant, err = t.turns.take(t.obj, t.session, dispatch.LookAndWrite, trigger.Drift)
	return err
}

func (t *turn) end() { t.grant.Done() }

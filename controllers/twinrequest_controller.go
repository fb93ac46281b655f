package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubqueue"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinrequest"
)

const (
	// requestRetry is the pace at which a hub that does not answer is asked again for a request.
	requestRetry = 2 * time.Second
	// lastAttempt is the time that is left to a request whose time is over, to say why.
	lastAttempt = time.Second
)

// twinRequestReconciler answers each TwinRequest once, and deletes it when its time is over.
type twinRequestReconciler struct {
	client      client.Client
	report      outcome.Reporter
	connections *hubaccess.Connections
	permits     *hubqueue.Queue
	answers     *twinrequest.Answers
	starts      *twinrequest.Starts
}

func (r *twinRequestReconciler) setup(mgr ctrl.Manager, opts Options) error {
	r.connections.Subscribe(dependents(r.client, &v1alpha1.TwinRequestList{}, r.permits.Ready()))
	return ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.TwinRequest{}, trigger.Edits(r.permits.Mark), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.permits.Ready().Source()).
		WithOptions(opts.controller()).
		Named("twinrequest").
		Complete(traced(opts.Tracing, "TwinRequest", r))
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=twinrequests,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=twinrequests/status,verbs=patch

// Reconcile answers one TwinRequest.
func (r *twinRequestReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var obj v1alpha1.TwinRequest
	err := r.client.Get(ctx, req.NamespacedName, &obj)
	if apierrors.IsNotFound(err) || (err == nil && !obj.DeletionTimestamp.IsZero()) {
		r.forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if wait := r.expiry(&obj).Sub(r.report.Clock.Now()); wait <= 0 {
		return ctrl.Result{}, r.expire(ctx, &obj)
	} else if obj.Status.CompletedAt != nil {
		r.forget(req.NamespacedName)
		return ctrl.Result{RequeueAfter: wait, Priority: ptr.To(trigger.ReadBack)}, nil
	}
	return r.answer(ctx, &obj)
}

// expiry is when an object is to go. One that was never answered, since no manager was
// there, goes when its client has certainly stopped to wait for it.
func (r *twinRequestReconciler) expiry(obj *v1alpha1.TwinRequest) time.Time {
	completed := obj.CreationTimestamp.Add(twinrequest.Bound)
	if obj.Status.CompletedAt != nil {
		completed = obj.Status.CompletedAt.Time
	}
	return completed.Add(obj.Spec.TTL.Duration)
}

// expire deletes an object whose time is over.
func (r *twinRequestReconciler) expire(ctx context.Context, obj *v1alpha1.TwinRequest) error {
	r.forget(client.ObjectKeyFromObject(obj))
	if err := r.client.Delete(ctx, obj, client.Preconditions{UID: &obj.UID}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting a request whose time is over: %w", err)
	}
	return nil
}

// forget drops all that is remembered of a request that is answered, or gone.
func (r *twinRequestReconciler) forget(name types.NamespacedName) {
	r.permits.Forget(name)
	r.starts.Forget(name)
}

// answer asks the hub, and reports what came of it, once.
func (r *twinRequestReconciler) answer(ctx context.Context, obj *v1alpha1.TwinRequest) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(obj)
	left := r.starts.Left(name, obj.UID)
	before := obj.DeepCopy()
	out := r.attempt(ctx, obj, max(left, lastAttempt))
	if left > 0 && ctx.Err() == nil && passes(out) {
		return r.again(name, out, left), nil
	}
	if passes(out) {
		out = timedOut(out)
	}
	if out.Class == outcome.Waiting {
		out.Class = outcome.Stalled // it is not asked again: another request may be made
	}
	now := r.report.Clock.Now()
	obj.Status.ObservedGeneration = obj.Generation
	obj.Status.CompletedAt = ptr.To(metav1.NewTime(now.Truncate(time.Second)))
	r.report.SetConditions(obj, out)
	if err := r.report.Write(ctx, r.client, before, obj); err != nil {
		return r.permits.Next(ctx, r.report, name, outcome.Of(err), 0)
	}
	r.forget(name)
	return ctrl.Result{RequeueAfter: max(r.expiry(obj).Sub(now), time.Second), Priority: ptr.To(trigger.ReadBack)}, nil
}

// attempt tries to answer a request within a time.
func (r *twinRequestReconciler) attempt(ctx context.Context, obj *v1alpha1.TwinRequest, within time.Duration) outcome.Outcome {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	out := outcome.Of(r.answers.Find(ctx, obj, func(session hub.Session, need dispatch.Need) (*dispatch.Permit, error) {
		permit, err := r.permits.Acquire(obj, session, need, trigger.News)
		if err != nil && session.Dispatcher().Broken() {
			return nil, nil // to ask a hub that does not answer says so at once
		}
		return permit, err
	}))
	if out.Class == outcome.Succeeded {
		out.Message = "the hub answered"
	}
	return out
}

// passes tells whether what kept a request from being answered may well pass within a minute.
func passes(out outcome.Outcome) bool {
	return out.Class == outcome.Transient || out.Class == outcome.Unseen || out.Class == outcome.Parked
}

// again says when to try the next time: what is waited for may come before.
func (r *twinRequestReconciler) again(name types.NamespacedName, out outcome.Outcome, left time.Duration) ctrl.Result {
	after := left
	if out.Class == outcome.Transient || out.Err != nil {
		r.permits.Withdraw(name)
		after = min(left, cmp.Or(out.RetryAfter, requestRetry))
	}
	return ctrl.Result{RequeueAfter: after, Priority: ptr.To(r.permits.Priority(name, trigger.News))}
}

// timedOut says what a request has waited for.
func timedOut(out outcome.Outcome) outcome.Outcome {
	waited := "its HubConnection to be reconciled by the manager, or for the API server"
	switch out.Class {
	case outcome.Parked:
		waited = "a permit at the hub, whose rate others use up; see the backlog of the HubConnection"
	case outcome.Transient:
		waited = "the hub: " + out.Reason + ": " + out.Message
	case outcome.Unseen, outcome.Succeeded, outcome.Suspended, outcome.Waiting, outcome.Stalled:
	}
	return outcome.Outcome{
		Class: outcome.Stalled, Reason: v1alpha1.ReasonTimedOut, Err: out.Err,
		Message: fmt.Sprintf("not answered within %s: waited for %s. Create another TwinRequest to try again", twinrequest.Bound, waited),
	}
}

package controllers

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubqueue"
	"github.com/devicetwin-io/devicetwin-operator/internal/membership"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

const (
	// maxSample is the schema's bound of status.devices.
	maxSample = 100
	// soonest is the shortest time to the next reconcile of a query.
	soonest = 100 * time.Millisecond
)

// twinQueryReconciler asks the hub which devices a query selects.
type twinQueryReconciler struct {
	client      client.Client
	report      outcome.Reporter
	connections *hubaccess.Connections
	memberships *membership.Memberships
	permits     *hubqueue.Queue
}

func (r *twinQueryReconciler) setup(mgr ctrl.Manager, opts Options) error {
	r.connections.Subscribe(dependents(r.client, &v1alpha1.TwinQueryList{}, r.permits.Ready()))
	build := ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.TwinQuery{}, trigger.Edits(r.permits.Mark), builder.WithPredicates(declarationChanged())).
		WatchesRawSource(r.permits.Ready().Source()).
		WithOptions(opts.controller()).
		Named("twinquery")
	followNamespaces(build, opts.Shard, r.connections.Namespaces(), guestsOf(r.client, &v1alpha1.TwinQueryList{}), r.permits.Ready())
	return build.Complete(traced(opts.Tracing, "TwinQuery", r))
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=twinqueries,verbs=get;list;watch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=twinqueries/status,verbs=patch

// Reconcile reconciles one TwinQuery.
func (r *twinQueryReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var obj v1alpha1.TwinQuery
	err := r.client.Get(ctx, req.NamespacedName, &obj)
	if apierrors.IsNotFound(err) || (err == nil && !obj.DeletionTimestamp.IsZero()) {
		r.forget(ctx, req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return r.evaluate(ctx, &obj)
}

// forget drops all that is remembered of a query that is gone.
func (r *twinQueryReconciler) forget(ctx context.Context, name types.NamespacedName) {
	r.memberships.Forget(ctx, name)
	r.permits.Forget(name)
}

// evaluate asks the hub, and reports what came of it.
func (r *twinQueryReconciler) evaluate(ctx context.Context, obj *v1alpha1.TwinQuery) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(obj)
	found, err := r.ask(ctx, obj)
	out := outcome.Of(err)
	interval := obj.Spec.Interval.Duration
	if !found.At.IsZero() {
		interval = max(interval-r.report.Clock.Since(found.At), soonest)
	}
	if out.Class == outcome.Unseen || out.Class == outcome.Parked {
		return r.next(ctx, obj, out, interval)
	}
	void := out.Effects().AnswerVoid
	before := obj.DeepCopy()
	obj.Status.ObservedGeneration = obj.Generation
	obj.Status.LastHandledReconcileAt = outcome.Handled(obj)
	switch {
	case out.Class == outcome.Succeeded:
		out.Message = "the hub answered"
		answered(&obj.Status, found.Result, r.report.Clock.Now().Truncate(time.Second))
	case void:
		obj.Status.Count, obj.Status.Devices, obj.Status.ObservedAt = nil, nil, nil
	}
	r.report.SetConditions(obj, out)
	why, late := r.memberships.Late(found, interval)
	r.report.SetIfTrue(obj, v1alpha1.ConditionMembershipsLate, late, why)
	if err := r.report.Write(ctx, r.client, before, obj); err != nil {
		return r.next(ctx, obj, outcome.Of(err), interval)
	}
	if void || out.Effects().HubGone {
		r.memberships.Drop(name)
	}
	if out.Class == outcome.Succeeded || void {
		r.memberships.Set(ctx, name, found)
	}
	if out.Class == outcome.Succeeded {
		wanted := before.Status.LastHandledReconcileAt != obj.Status.LastHandledReconcileAt
		r.memberships.Scan(found, obj.Spec.Interval.Duration, wanted)
	}
	return r.next(ctx, obj, out, interval)
}

// next says when to reconcile a query again. One that is parked is reconciled meanwhile
// too, since it is to say so when its hub stops to answer.
func (r *twinQueryReconciler) next(ctx context.Context, obj *v1alpha1.TwinQuery, out outcome.Outcome, interval time.Duration) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(obj)
	if out.Class == outcome.Parked {
		priority := r.permits.Priority(name, trigger.ReadBack)
		return ctrl.Result{RequeueAfter: wait.Jitter(obj.Spec.Interval.Duration, outcome.IntervalJitter), Priority: &priority}, nil
	}
	return r.permits.Next(ctx, r.report, name, out, interval)
}

// ask asks the hub which devices the query selects, unless that was asked lately.
func (r *twinQueryReconciler) ask(ctx context.Context, obj *v1alpha1.TwinQuery) (membership.Evaluation, error) {
	condition, errs := validation.TwinQuery(obj)
	if len(errs) > 0 {
		return membership.Evaluation{}, outcome.Stall(v1alpha1.ReasonInvalidQuery, validation.Text(errs)+". The hub was not asked")
	}
	found, err := r.connections.Resolve(ctx, obj.Namespace, obj.Spec.HubRef)
	if err != nil {
		return membership.Evaluation{}, err
	}
	if condition, err = found.Scope.Narrow(condition); err != nil {
		return membership.Evaluation{}, err
	}
	asked := membership.Query{Hub: found, From: hub.Devices, Condition: condition}
	if obj.Spec.From == string(hub.Modules) {
		asked.From = hub.Modules
	}
	notOlder := obj.Spec.Interval.Duration
	if outcome.Handled(obj) != obj.Status.LastHandledReconcileAt {
		notOlder = 0 // the user wants to know now
	}
	answer, err := r.memberships.Evaluate(ctx, client.ObjectKeyFromObject(obj), asked, notOlder, func() (*dispatch.Permit, error) {
		return r.acquire(obj, found.Session)
	})
	if hub.ReasonOf(err) == hub.ReasonRefused {
		err = outcome.Stall(v1alpha1.ReasonQueryRefused, "the hub refused the query: "+err.Error())
	}
	return answer, err
}

// acquire returns a permit to evaluate a query, or outcome.Park(). It returns none, which is usable,
// at a hub that does not answer: to ask it says so at once.
func (r *twinQueryReconciler) acquire(obj *v1alpha1.TwinQuery, session hub.Session) (*dispatch.Permit, error) {
	priority := trigger.ReadBack
	if obj.Status.ObservedAt == nil {
		priority = trigger.News
	}
	permit, err := r.permits.Acquire(obj, session, dispatch.Need{}, priority)
	if err != nil && session.Dispatcher().Broken() {
		return nil, nil
	}
	return permit, err
}

// answered notes an answer. observedAt moves with the result, not with the clock.
func answered(status *v1alpha1.TwinQueryStatus, said membership.Result, now time.Time) {
	sample := slices.Clone(said.Devices[:min(len(said.Devices), maxSample)])
	if status.ObservedAt != nil && ptr.Equal(status.Count, &said.Count) && slices.Equal(status.Devices, sample) {
		return
	}
	status.Count, status.Devices = &said.Count, sample
	status.ObservedAt = ptr.To(metav1.NewTime(now))
}

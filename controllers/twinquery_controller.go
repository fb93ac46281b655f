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
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

const (
	// maxSample is the schema's bound of status.devices.
	maxSample = 100
	// maxQueryTime bounds one run: at the 20 pages a minute of a small hub it is
	// enough for as many as are listed.
	maxQueryTime = 10 * time.Minute
)

// twinQueryReconciler asks the hub which devices a query selects.
type twinQueryReconciler struct {
	client      client.Client
	report      outcome.Reporter
	connections *hubaccess.Connections
	memberships *memberships
	askings     *askings
	looks       *looks
	turns       *turns
}

func (r *twinQueryReconciler) setup(mgr ctrl.Manager, opts Options) error {
	r.connections.Subscribe(dependents(r.client, &v1alpha1.TwinQueryList{}, r.turns.come))
	toQueriesOfNamespace := trigger.Mapped(guestsOf(r.client, &v1alpha1.TwinQueryList{}), trigger.News)
	return ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.TwinQuery{}, trigger.Edits(r.turns.mark), builder.WithPredicates(declarationChanged())).
		WatchesRawSource(r.turns.come.Source()).
		WatchesMetadata(namespaceMetadata(), toQueriesOfNamespace, builder.WithPredicates(labelsChanged())).
		WithOptions(opts.controller()).
		Named("twinquery").
		Complete(r)
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=twinqueries,verbs=get;list;watch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=twinqueries/status,verbs=patch

// Reconcile looks at one TwinQuery.
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
	return r.visit(ctx, &obj)
}

// forget drops all that is remembered of a query that is gone.
func (r *twinQueryReconciler) forget(ctx context.Context, name types.NamespacedName) {
	r.askings.forget(name)
	r.memberships.forget(ctx, name)
	r.turns.withdraw(name)
	r.turns.served(name)
}

// visit asks the hub, and reports what came of it.
func (r *twinQueryReconciler) visit(ctx context.Context, obj *v1alpha1.TwinQuery) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(obj)
	found, err := r.ask(ctx, obj)
	out := outcome.Of(err)
	interval := obj.Spec.Interval.Duration
	if !found.asked.IsZero() {
		interval = max(interval-r.report.Clock.Since(found.asked), soonest)
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
		answered(&obj.Status, found.said, r.report.Clock.Now().Truncate(time.Second))
	case void:
		obj.Status.Count, obj.Status.Devices, obj.Status.ObservedAt = nil, nil, nil
	}
	r.report.SetConditions(obj, out)
	why, late := r.looks.late(found, interval)
	r.report.SetIfTrue(obj, v1alpha1.ConditionMembershipsLate, late && found.said.large, why)
	if err := r.report.Write(ctx, r.client, before, obj); err != nil {
		return r.next(ctx, obj, outcome.Of(err), interval)
	}
	if void || out.Effects().HubGone {
		r.askings.forget(name)
	}
	if out.Class == outcome.Succeeded || void {
		r.memberships.set(ctx, name, found)
	}
	if out.Class == outcome.Succeeded {
		r.look(before, obj, found)
	}
	return r.next(ctx, obj, out, interval)
}

// look finds out who belongs to an answer that is too large to list: at once for who
// asks for it, and where nothing is known yet.
func (r *twinQueryReconciler) look(before, after *v1alpha1.TwinQuery, found finding) {
	if found.said.large {
		wanted := before.Status.LastHandledReconcileAt != after.Status.LastHandledReconcileAt || !r.memberships.listed(found.question)
		r.looks.look(found, after.Spec.Interval.Duration, wanted)
	}
}

// next says when to look at a query again. One that is parked is looked at meanwhile
// too, since it is to say so when its hub stops to answer.
func (r *twinQueryReconciler) next(ctx context.Context, obj *v1alpha1.TwinQuery, out outcome.Outcome, interval time.Duration) (ctrl.Result, error) {
	name := client.ObjectKeyFromObject(obj)
	if out.Class == outcome.Parked {
		priority := r.turns.marked(name, trigger.ReadBack)
		return ctrl.Result{RequeueAfter: wait.Jitter(obj.Spec.Interval.Duration, outcome.IntervalJitter), Priority: &priority}, nil
	}
	return r.turns.next(ctx, r.report, name, out, interval)
}

// finding is what a hub said to a query.
type finding struct {
	question  question
	condition *query.Condition
	scope     hubaccess.Scope
	session   hub.Session
	said      reply
	asked     time.Time
}

// ask asks the hub which devices the query selects, unless that was asked lately.
func (r *twinQueryReconciler) ask(ctx context.Context, obj *v1alpha1.TwinQuery) (finding, error) {
	condition, errs := validation.TwinQuery(obj)
	if len(errs) > 0 {
		return finding{}, outcome.Stall(v1alpha1.ReasonInvalidQuery, validation.Text(errs)+". The hub was not asked")
	}
	found, err := r.connections.Resolve(ctx, obj.Namespace, obj.Spec.HubRef)
	if err != nil {
		return finding{}, err
	}
	if condition, err = found.Scope.Narrow(condition); err != nil {
		return finding{}, err
	}
	q := question{hub: found.Key, from: hub.Devices, text: condition.String()}
	if obj.Spec.From == string(hub.Modules) {
		q.from = hub.Modules
	}
	notOlder := obj.Spec.Interval.Duration
	if outcome.Handled(obj) != obj.Status.LastHandledReconcileAt {
		notOlder = 0 // somebody wants to know now
	}
	said, asked, err := r.askings.answer(q, client.ObjectKeyFromObject(obj), notOlder, func(large bool) (reply, error) {
		grant, err := r.turn(obj, found.Session)
		if err != nil {
			return reply{}, err
		}
		defer grant.Done()
		return r.askings.ask(dispatch.With(ctx, grant), found.Session, q, large)
	})
	if hub.ReasonOf(err) == hub.ReasonRefused {
		err = outcome.Stall(v1alpha1.ReasonQueryRefused, "the hub refused the query: "+err.Error())
	}
	return finding{question: q, condition: condition, scope: found.Scope, session: found.Session, said: said, asked: asked}, err
}

// turn returns the turn of a query to ask, or outcome.Park(). It returns none, which is usable,
// at a hub that does not answer: to ask it says so at once.
func (r *twinQueryReconciler) turn(obj *v1alpha1.TwinQuery, session hub.Session) (*dispatch.Grant, error) {
	priority := trigger.ReadBack
	if obj.Status.ObservedAt == nil {
		priority = trigger.News
	}
	grant, err := r.turns.take(obj, session, dispatch.Need{}, priority)
	if err != nil && session.Dispatcher().Broken() {
		return nil, nil
	}
	return grant, err
}

// names are ids as a status shows them, sorted.
func names(ids []hub.ID) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, id.String())
	}
	slices.Sort(out)
	return out
}

// answered notes an answer. observedAt moves with the result, not with the clock.
func answered(status *v1alpha1.TwinQueryStatus, said reply, now time.Time) {
	sample := slices.Clone(said.devices[:min(len(said.devices), maxSample)])
	if status.ObservedAt != nil && ptr.Equal(status.Count, &said.count) && slices.Equal(status.Devices, sample) {
		return
	}
	status.Count, status.Devices = &said.count, sample
	status.ObservedAt = ptr.To(metav1.NewTime(now))
}

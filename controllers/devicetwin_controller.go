package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// deviceTwinReconciler keeps the declared leaves of one twin on the hub, and
// mirrors what is seen there.
type deviceTwinReconciler struct {
	client      client.Client
	report      reporter
	connections *connections
	memberships *memberships
	flights     *flights
}

func (r *deviceTwinReconciler) setup(mgr ctrl.Manager, opts Options) error {
	toTwins := handler.EnqueueRequestsFromMapFunc(dependents(r.client, &v1alpha1.DeviceTwinList{}))
	toTwinsOfNamespace := handler.EnqueueRequestsFromMapFunc(guestsOf(r.client, &v1alpha1.DeviceTwinList{}))
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DeviceTwin{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(source.Channel(r.connections.subscribe(), toTwins)).
		WatchesRawSource(source.Channel(r.memberships.changed, handler.EnqueueRequestsFromMapFunc(twinsOfDevice(r.client)))).
		WatchesMetadata(namespaceMetadata(), toTwinsOfNamespace, builder.WithPredicates(labelsChanged())).
		WithOptions(opts.controller()).
		Named("devicetwin").
		Complete(r)
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=devicetwins/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch

// Reconcile looks at one DeviceTwin.
func (r *deviceTwinReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var obj v1alpha1.DeviceTwin
	if err := r.client.Get(ctx, req.NamespacedName, &obj); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !obj.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the hub stays as it is
	}
	found, seen, err := r.visit(ctx, &obj)
	out := outcomeOf(err)
	interval := found.spec.ReadBack.Interval.Duration
	if out.class == unseen {
		return r.report.next(ctx, out, interval)
	}
	before := obj.DeepCopy()
	r.describe(ctx, &obj, found, seen, out)
	if err := r.report.write(ctx, r.client, before, &obj); err != nil {
		return r.report.next(ctx, outcomeOf(err), interval)
	}
	return r.report.next(ctx, out, interval)
}

// visit does all that reads or writes the hub. It returns the twin as last seen,
// nil if it was not seen.
func (r *deviceTwinReconciler) visit(ctx context.Context, obj *v1alpha1.DeviceTwin) (resolved, *hub.Twin, error) {
	if obj.Spec.Suspend {
		return resolved{}, nil, &stop{outcome{
			class: suspended, reason: v1alpha1.ReasonSuspended,
			message: "spec.suspend is true: the twin is neither read nor written",
		}}
	}
	declared, err := declaredBy(obj)
	if err != nil {
		return resolved{}, nil, err
	}
	found, err := r.connections.resolve(ctx, obj.Namespace, obj.Spec.HubRef)
	if err != nil {
		return found, nil, err
	}
	push := push{
		client: r.client, session: found.session, flights: r.flights, obj: obj, declared: declared,
		target: twin.Target{Host: found.session.Host(), DeviceID: obj.Spec.DeviceID},
	}
	before := obj.DeepCopy()
	seen, err := push.run(ctx)
	r.tell(before, obj, push.done)
	return found, seen, err
}

// tell records events about what was done to somebody else's values.
func (r *deviceTwinReconciler) tell(before, obj *v1alpha1.DeviceTwin, done done) {
	if len(done.changed) > 0 && wasSynced(before) {
		r.report.event(obj, "Normal", v1alpha1.EventDriftCorrected, "restored on the hub: "+done.changed.String())
	}
	if len(done.leftBehind) > 0 {
		r.report.event(obj, "Normal", v1alpha1.EventLeftBehind,
			"no longer declared, but the hub holds somebody else's value: "+done.leftBehind.String())
	}
}

// wasSynced tells whether the hub was last seen to hold just this declaration: a
// leaf that differs now was changed by somebody else.
func wasSynced(obj *v1alpha1.DeviceTwin) bool {
	for _, c := range obj.Status.Conditions {
		if c.Type == v1alpha1.ConditionSynced {
			return c.Status == metav1.ConditionTrue && c.ObservedGeneration == obj.Generation
		}
	}
	return false
}

// declaredBy reads the declaration and holds it against the twin format's rules.
func declaredBy(obj *v1alpha1.DeviceTwin) (twin.Document, error) {
	var declared twin.Document
	for _, section := range []struct {
		name string
		raw  *runtime.RawExtension
		into *map[string]any
	}{{"tags", obj.Spec.Tags, &declared.Tags}, {"desired", obj.Spec.Desired, &declared.Desired}} {
		var raw []byte
		if section.raw != nil {
			raw = section.raw.Raw
		}
		parsed, err := twin.ParseSection(raw)
		if err != nil {
			return declared, invalidTwin(fmt.Sprintf("spec.%s: %v", section.name, err))
		}
		*section.into = parsed
	}
	if broken := twin.Validate(declared); len(broken) > 0 {
		rules := make([]string, len(broken))
		for i, violation := range broken {
			rules[i] = violation.String()
		}
		return declared, invalidTwin(strings.Join(rules, "; "))
	}
	return declared, nil
}

func invalidTwin(message string) error {
	return stopDiffering(stalled, v1alpha1.ReasonInvalidTwin, message+". Nothing was sent to the hub")
}

// describe is the status as a value of what was seen.
func (r *deviceTwinReconciler) describe(ctx context.Context, obj *v1alpha1.DeviceTwin, found resolved, seen *hub.Twin, out outcome) {
	if out.class == succeeded {
		out.message = "the hub holds what is declared"
	}
	obj.Status.ObservedGeneration = obj.Generation
	r.report.conditions(obj, out)
	r.report.set(obj, v1alpha1.ConditionSynced, synced(out), out)
	if seen != nil {
		mirror(&obj.Status, seen, r.report.clock.Now().Truncate(time.Second))
	}
	if found.session == nil {
		return // not asked: the memberships stand
	}
	names, err := r.memberships.of(ctx, r.client, obj, found.key)
	if err != nil {
		log.FromContext(ctx).Error(err, "memberships are left as they are")
		return
	}
	obj.Status.Memberships = names
}

func synced(out outcome) metav1.ConditionStatus {
	switch {
	case out.class == succeeded:
		return metav1.ConditionTrue
	case out.differs:
		return metav1.ConditionFalse
	}
	return metav1.ConditionUnknown
}

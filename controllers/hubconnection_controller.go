package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credentials"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/guard"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubusage"
	"github.com/devicetwin-io/devicetwin-operator/internal/membership"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// hubConnectionReconciler opens a session for each HubConnection and proves it
// with one authenticated read.
type hubConnectionReconciler struct {
	client       client.Client
	secretReader client.Reader // not cached: the manager holds no Secrets
	report       outcome.Reporter
	connections  *hubaccess.Connections
	sessions     *hub.Pool
	secrets      *credentials.SecretWatches
	guards       *guard.Guards
	readBack     *readback.Group
	identities   credentials.Identities
	suffixes     []string
	probeEvery   time.Duration
	probes       *probes
	usage        *hubusage.Reporter
	memberships  *membership.Memberships
	metrics      *Metrics
	queue        *trigger.Queue // for what is learned elsewhere of HubConnections
}

func (r *hubConnectionReconciler) setup(mgr ctrl.Manager, opts Options) error {
	return ctrl.NewControllerManagedBy(mgr).
		Watches(&v1alpha1.HubConnection{}, trigger.Edits(func(types.NamespacedName, int) {}), builder.WithPredicates(declarationChanged())).
		WatchesRawSource(r.queue.Source()).
		WithOptions(opts.controller()).
		Named("hubconnection").
		Complete(traced(opts.Tracing, "HubConnection", r))
}

// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=hubconnections,verbs=get;list;watch
// +kubebuilder:rbac:groups=iothub.devicetwin.io,resources=hubconnections/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile reconciles one HubConnection.
func (r *hubConnectionReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.connections.Cached(req.NamespacedName)
	var conn v1alpha1.HubConnection
	err := r.client.Get(ctx, req.NamespacedName, &conn)
	if apierrors.IsNotFound(err) || (err == nil && !conn.DeletionTimestamp.IsZero()) {
		r.forget(ctx, req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	session, err := r.connect(ctx, &conn)
	out := outcome.Of(err)
	if out.Class == outcome.Unseen {
		return r.report.Next(ctx, out, r.probeEvery)
	}
	if out.Class == outcome.Succeeded {
		out.Message = "the hub answered an authenticated read"
	}
	had := r.standing(&conn, session)
	out, doubted := r.judge(&conn, session, had, out)
	released, err := r.writeStatus(ctx, &conn, session, out)
	if err != nil {
		return r.report.Next(ctx, outcome.Of(err), r.probeEvery)
	}
	if !doubted {
		r.publish(ctx, &conn, session, had, out)
	}
	if released {
		r.connections.Notify(ctx, req.NamespacedName)
	}
	return r.report.Next(ctx, out, r.interval(&conn))
}

// interval is when to reconcile a HubConnection again that works, for the numbers of its
// use: sooner while changes are stopped, so that their count keeps up.
func (r *hubConnectionReconciler) interval(conn *v1alpha1.HubConnection) time.Duration {
	if meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionPaused) {
		return min(r.report.Retry, r.usage.Interval(), r.probeEvery)
	}
	return min(r.usage.Interval(), r.probeEvery)
}

func (r *hubConnectionReconciler) forget(ctx context.Context, key types.NamespacedName) {
	r.secrets.Unfollow(key)
	r.sessions.Forget(key.String())
	r.guards.ForgetHub(key)
	r.readBack.ForgetHub(key)
	r.memberships.ForgetHub(key)
	r.probes.forget(key)
	r.usage.Forget(key)
	before, _ := r.connections.Known(key)
	r.connections.Forget(ctx, key)
	r.dropSeries(before)
}

// connect returns a session once the declaration and the credential can be used;
// with an error as well when the hub did not prove it.
func (r *hubConnectionReconciler) connect(ctx context.Context, conn *v1alpha1.HubConnection) (hub.Session, error) {
	if err := checkConnection(conn); err != nil {
		return nil, err
	}
	key := client.ObjectKeyFromObject(conn)
	limits, err := limitsOf(conn)
	if err != nil {
		return nil, err
	}
	config := hub.Config{
		CABundle: conn.Spec.CABundle, AllowedHostSuffixes: r.suffixes, Limits: limits,
		Age: hub.Age{Created: conn.CreationTimestamp.Time, UID: string(conn.UID)},
	}
	if conn.Spec.Auth.WorkloadIdentity != nil {
		r.secrets.Unfollow(key)
		config.HostName, config.WorkloadIdentity = conn.Spec.HostName, r.identities.Of(conn)
	} else {
		if config.ConnectionString, err = r.credential(ctx, conn); err != nil {
			return nil, err
		}
	}
	session, err := r.sessions.Session(key.String(), config)
	if err != nil {
		return nil, err
	}
	if err := r.connections.AdmitHost(ctx, conn, session.Host()); err != nil {
		return session, err
	}
	return session, r.prove(ctx, key, session)
}

// limitsOf is how much of its hub a HubConnection lets us use.
func limitsOf(conn *v1alpha1.HubConnection) (dispatch.Limits, error) {
	tier := dispatch.Tier{SKU: string(conn.Spec.Tier.SKU), Units: int(conn.Spec.Tier.Units)}
	limits, err := tier.Limits()
	if err != nil {
		return dispatch.Limits{}, fmt.Errorf("spec.tier: %w", err) // the schema lets none through
	}
	return limits.Share(int(conn.Spec.Budget.RatePercent), int(conn.Spec.Budget.DailyMessagesPercent)), nil
}

// checkConnection holds a declaration against the rules.
func checkConnection(conn *v1alpha1.HubConnection) error {
	for _, rule := range []struct {
		reason string
		check  func(*v1alpha1.HubConnection) field.ErrorList
	}{
		{v1alpha1.ReasonInvalidHostName, validation.HostName},
		{v1alpha1.ReasonInvalidCABundle, validation.CABundle},
		{v1alpha1.ReasonInvalidSelector, validation.NamespaceSelector},
	} {
		if errs := rule.check(conn); len(errs) > 0 {
			return outcome.Stall(rule.reason, validation.Text(errs))
		}
	}
	return nil
}

// credential reads the connection string from the HubConnection's own namespace.
func (r *hubConnectionReconciler) credential(ctx context.Context, conn *v1alpha1.HubConnection) (string, error) {
	ref := conn.Spec.Auth.ConnectionStringSecretRef
	if ref == nil { // a schema of an earlier version
		return "", outcome.Stall(v1alpha1.ReasonSecretNotFound, "spec.auth names no credential: set connectionStringSecretRef or workloadIdentity")
	}
	name := types.NamespacedName{Namespace: conn.Namespace, Name: ref.Name}
	var secret corev1.Secret
	err := r.secretReader.Get(ctx, name, &secret)
	if client.IgnoreNotFound(err) == nil {
		r.secrets.Follow(client.ObjectKeyFromObject(conn), name, secret.ResourceVersion)
	}
	if apierrors.IsNotFound(err) {
		return "", outcome.Stall(v1alpha1.ReasonSecretNotFound, fmt.Sprintf(
			"Secret %q of spec.auth.connectionStringSecretRef does not exist in namespace %q: create it with the key %q", ref.Name, conn.Namespace, ref.Key))
	}
	if err != nil {
		return "", fmt.Errorf("reading Secret %s: %w", name, err)
	}
	value, ok := secret.Data[ref.Key]
	if !ok {
		return "", outcome.Stall(v1alpha1.ReasonSecretNotFound, fmt.Sprintf(
			"Secret %q has no key %q: add it, or name another in spec.auth.connectionStringSecretRef.key", ref.Name, ref.Key))
	}
	return string(value), nil
}

// prove makes one authenticated read, unless the same session was proved lately.
func (r *hubConnectionReconciler) prove(ctx context.Context, key types.NamespacedName, session hub.Session) error {
	now := r.report.Clock.Now()
	if r.probes.fresh(key, session, now.Add(-r.probeEvery)) {
		return nil
	}
	r.probes.expire(key)
	if err := session.Probe(ctx); err != nil {
		return err
	}
	r.probes.passed(key, session, now)
	return nil
}

// publish tells the other controllers. An outage does not take a session away from
// a hub that worked: who uses it meets the outage and says so.
func (r *hubConnectionReconciler) publish(ctx context.Context, conn *v1alpha1.HubConnection, session hub.Session, had standing, out outcome.Outcome) {
	key := client.ObjectKeyFromObject(conn)
	now := hubaccess.Connection{Generation: conn.Generation, Why: out.Reason}
	if had.keeps(session, out) {
		now.Session, now.Why = session, ""
	}
	r.readBack.Serve(key, now.Session, readback.Settings{
		Interval: conn.Spec.ReadBack.Interval.Duration, FullSweep: conn.Spec.ReadBack.FullSweep(),
	})
	before, _ := r.connections.Known(key)
	r.connections.Publish(ctx, key, now)
	r.dropSeries(before)
}

// writeStatus also takes over the guard's settings; released tells that changes may
// go on which the guard had stopped.
func (r *hubConnectionReconciler) writeStatus(ctx context.Context, conn *v1alpha1.HubConnection, session hub.Session, out outcome.Outcome) (released bool, err error) {
	before := conn.DeepCopy()
	conn.Status.ObservedGeneration = conn.Generation
	conn.Status.LastHandledReconcileAt = outcome.Handled(conn)
	if session != nil {
		conn.Status.HostName, conn.Status.Endpoint = session.Host(), ""
		if session.Endpoint() != session.Host() {
			conn.Status.Endpoint = session.Endpoint()
		}
		if err := r.usage.Describe(ctx, conn, session, out); err != nil {
			return false, err
		}
	}
	r.report.SetConditions(conn, out)
	r.usage.ReadBack(conn)
	conn.Status.Guard, released = r.guards.Configure(conn, client.ObjectKeyFromObject(conn))
	r.paused(conn)
	return released, r.report.Write(ctx, r.client, before, conn)
}

// paused says whether the guard has stopped all changes, and how they go on.
func (r *hubConnectionReconciler) paused(conn *v1alpha1.HubConnection) {
	state := conn.Status.Guard
	tripped := state != nil && state.TrippedAt != nil
	out := outcome.Outcome{Reason: v1alpha1.ReasonGuardTripped}
	if tripped {
		out.Message = fmt.Sprintf("%d twins were changed within an hour, the limit of spec.guard, and %d more wait. If that is meant: "+
			"kubectl annotate --overwrite hubconnection %s %s=\"$(date)\", or set another maxChangesPerHour",
			state.Limit, state.Waiting, conn.Name, v1alpha1.GuardResetAnnotation)
	}
	if tripped && !meta.IsStatusConditionTrue(conn.Status.Conditions, v1alpha1.ConditionPaused) {
		r.report.Event(conn, corev1.EventTypeWarning, out.Reason, out.Message)
	}
	r.report.SetIfTrue(conn, v1alpha1.ConditionPaused, tripped, out)
}

package controllers

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/devicetwin-io/devicetwin-operator/internal/claim"
	"github.com/devicetwin-io/devicetwin-operator/internal/credentials"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/guard"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubqueue"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubusage"
	"github.com/devicetwin-io/devicetwin-operator/internal/membership"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
	"github.com/devicetwin-io/devicetwin-operator/internal/revisions"
	"github.com/devicetwin-io/devicetwin-operator/internal/setsync"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/synccache"
	"github.com/devicetwin-io/devicetwin-operator/internal/trigger"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinrequest"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinsync"
)

// eventSource names the controller in events.
const eventSource = "devicetwin-operator"

// Options tune the controllers. The zero value is good for production.
type Options struct {
	// Sessions reach the hubs; a pool with defaults when nil.
	Sessions *hub.Pool
	// AllowedHostSuffixes a connection string may name; hub.DefaultAllowedHostSuffixes()
	// when empty.
	AllowedHostSuffixes []string
	// Workers of each controller; 64 when zero. They bound how many objects are looked
	// at at once; how many of them talk to one hub is bounded by its dispatcher.
	Workers int
	// RetryInterval is the pace at which an object is reconciled again that needs a
	// person, or another object; one minute when zero. What it refers to in the
	// cluster wakes it at once.
	RetryInterval time.Duration
	// MaxBackoff bounds the exponential back-off from a hub that does not answer,
	// which starts at half a second; two minutes when zero.
	MaxBackoff time.Duration
	// ProbeInterval is how often a HubConnection that works is proved again; five
	// minutes when zero.
	ProbeInterval time.Duration
	// UseInterval is how often the numbers in a HubConnection's status are written at
	// most; one minute when zero.
	UseInterval time.Duration
	// DeletionTimeout is how long the hub is tried to be cleaned up behind a deleted
	// DeviceTwin of deletionPolicy Clear or Delete before its finalizer is removed; ten minutes
	// when zero.
	DeletionTimeout time.Duration
	// ListedPages is how many pages of a TwinQuery's answer are listed at most; ten when
	// zero. Of a larger one the devices are counted, and those that have a DeviceTwin
	// are reconciled now and then.
	ListedPages int
	// Shard is the part of the fleet that the manager's cache is narrowed to, by labels,
	// namespaces or both; all of it when zero. Nothing outside its namespaces is asked for.
	Shard shard.Shard
	// Entra says where HubConnections with a workload identity sign in.
	Entra credentials.EntraOptions
	// Metrics, when set, counts what no status tells any more.
	Metrics *Metrics
	// Tracing, when set, has each reconcile and its requests traced.
	Tracing trace.TracerProvider
	// Clock tells the time; the real one when nil.
	Clock clock.PassiveClock
}

const (
	defaultWorkers       = 64
	defaultRetryInterval = time.Minute
	defaultMaxBackoff    = 2 * time.Minute
	defaultProbeInterval = 5 * time.Minute
	defaultUseInterval   = time.Minute
	// defaultListedPages is what a small hub answers in 30 seconds.
	defaultListedPages = 10
	minBackoff         = 500 * time.Millisecond
	// reconciliationTimeout gives a worker back whatever holds it. It is more than the requests of one
	// reconcile take at their longest, each of which has a bound of its own (75 s at a hub).
	reconciliationTimeout = 10 * time.Minute
)

func (o Options) withDefaults() Options {
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.RetryInterval == 0 {
		o.RetryInterval = defaultRetryInterval
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = defaultMaxBackoff
	}
	if o.ProbeInterval == 0 {
		o.ProbeInterval = defaultProbeInterval
	}
	if o.UseInterval == 0 {
		o.UseInterval = defaultUseInterval
	}
	if o.DeletionTimeout == 0 {
		o.DeletionTimeout = defaultDeletionTimeout
	}
	if o.ListedPages == 0 {
		o.ListedPages = defaultListedPages
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if len(o.AllowedHostSuffixes) == 0 {
		o.AllowedHostSuffixes = hub.DefaultAllowedHostSuffixes()
	}
	if o.Sessions == nil {
		o.Sessions = hub.NewPool(hub.PoolOptions{MaxInFlight: PlacesPerHub(o.Workers)})
	}
	return o
}

// PlacesPerHub is how many of so many workers may reconcile objects of one hub at once:
// one that hangs must not hold most of them.
func PlacesPerHub(workers int) int { return max(1, workers/4) }

func (o Options) controller() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: o.Workers,
		ReconciliationTimeout:   reconciliationTimeout,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
			min(minBackoff, o.MaxBackoff), o.MaxBackoff),
	}
}

// Setup adds the controllers of all kinds to a manager. ctx bounds the setup, and nothing
// that the manager runs.
func Setup(ctx context.Context, mgr ctrl.Manager, opts Options) error {
	opts = opts.withDefaults()
	made, err := newReconcilers(ctx, mgr, opts)
	if err != nil {
		return err
	}
	return made.add(mgr, opts)
}

// reconcilers are those of all kinds.
type reconcilers struct {
	twins       *deviceTwinReconciler
	queries     *twinQueryReconciler
	requests    *twinRequestReconciler
	sets        *deviceTwinSetReconciler
	connections *hubConnectionReconciler
}

func (r reconcilers) add(mgr ctrl.Manager, opts Options) error {
	for _, runnable := range []manager.Runnable{r.twins.readBack, r.queries.memberships, r.connections.secrets, pollNamespaces(r.connections.connections.Namespaces(), opts)} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("adding %T: %w", runnable, err)
		}
	}
	finalizers := &finalizerReconciler{client: mgr.GetClient()}
	for _, add := range []func(ctrl.Manager, Options) error{finalizers.setup, r.twins.setup, r.queries.setup, r.requests.setup, r.sets.setup, r.connections.setup} {
		if err := add(mgr, opts); err != nil {
			return err
		}
	}
	return nil
}

// newReconcilers makes the reconcilers and what they share.
func newReconcilers(ctx context.Context, mgr ctrl.Manager, opts Options) (reconcilers, error) {
	kube, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return reconcilers{}, fmt.Errorf("making a client for Secrets: %w", err)
	}
	if err := fieldindex.Add(ctx, mgr.GetFieldIndexer()); err != nil {
		return reconcilers{}, err
	}
	twinQueue, hubQueue := &trigger.Queue{}, &trigger.Queue{}
	var (
		report = outcome.Reporter{Clock: opts.Clock, Recorder: mgr.GetEventRecorder(eventSource), Retry: opts.RetryInterval, Server: &outcome.APIServer{}}
		hubs   = hubaccess.New(mgr.GetClient(), mgr.GetAPIReader(), opts.Shard, opts.Clock)
		guards = guard.New(opts.Clock, to(hubQueue, trigger.News))
		claims = claim.New(mgr.GetClient(), hubs, to(twinQueue, trigger.Drift))
	)
	queryPermits := hubqueue.New(opts.Sessions, "TwinQuery", dispatch.Evaluations)
	memberships := membership.New(membership.Options{
		Clock: opts.Clock, Timers: clock.RealClock{}, Reader: mgr.GetClient(), Pages: opts.ListedPages,
		Changed: to(twinQueue, trigger.News), Disagreed: opts.Metrics.disagreed,
		Answered: func(name types.NamespacedName) {
			queryPermits.Ready().Enqueue(name, queryPermits.Priority(name, trigger.ReadBack))
		},
	})
	probes := newProbes()
	readBack := newReadBack(twinQueue, hubQueue, probes)
	if err := opts.Metrics.follow(ctx, mgr, hubs, readBack); err != nil {
		return reconcilers{}, err
	}
	twins := &deviceTwinReconciler{
		readBack: readBack, synced: synccache.New(opts.Clock), queue: twinQueue,
		client: mgr.GetClient(), report: report, connections: hubs, memberships: memberships, inFlight: twinsync.NewInFlight(opts.Clock),
		contention: twinsync.NewContention(opts.Clock), guards: guards, claims: claims,
		permits: hubqueue.New(opts.Sessions, "DeviceTwin", dispatch.Reconciles), metrics: opts.Metrics,
		edits: newEditTimes(opts.Clock), untold: newUntoldWrites(), secretReader: mgr.GetAPIReader(), deletions: newDeletions(opts.Clock, opts.DeletionTimeout),
	}
	queries := &twinQueryReconciler{
		client: mgr.GetClient(), report: report, connections: hubs, memberships: memberships, permits: queryPermits,
	}
	connections := &hubConnectionReconciler{
		client: mgr.GetClient(), secretReader: mgr.GetAPIReader(), report: report, connections: hubs,
		sessions: opts.Sessions, secrets: credentials.NewSecretWatches(kube, to(hubQueue, trigger.Edit)), suffixes: opts.AllowedHostSuffixes,
		guards:     guards,
		readBack:   readBack,
		identities: credentials.NewIdentities(kube, opts.Entra),
		usage:      hubusage.New(mgr.GetClient(), report, opts.UseInterval, readBack),
		probeEvery: opts.ProbeInterval,
		probes:     probes, queue: hubQueue, memberships: memberships, metrics: opts.Metrics,
	}
	requests := &twinRequestReconciler{
		client: mgr.GetClient(), report: report, connections: hubs, permits: hubqueue.New(opts.Sessions, "TwinRequest", dispatch.Questions),
		starts: twinrequest.NewStarts(opts.Clock),
		answers: &twinrequest.Answers{
			Hubs: hubs, Claims: claims, Reader: mgr.GetAPIReader(), Shard: opts.Shard, Contention: twins.contention,
		},
	}
	return reconcilers{twins: twins, queries: queries, requests: requests, sets: newSetReconciler(mgr, opts, twins), connections: connections}, nil
}

// newSetReconciler shares with the DeviceTwins' what is of hubs and of the API server.
func newSetReconciler(mgr ctrl.Manager, opts Options, twins *deviceTwinReconciler) *deviceTwinSetReconciler {
	return &deviceTwinSetReconciler{
		client: mgr.GetClient(), uncached: mgr.GetAPIReader(), report: twins.report, connections: twins.connections, guards: twins.guards,
		sets: setsync.New(opts.Clock, PlacesPerHub(opts.Workers)), revisions: revisions.New(mgr.GetClient(), mgr.GetAPIReader(), mgr.GetScheme()),
		deletions: newDeletions(opts.Clock, opts.DeletionTimeout), metrics: opts.Metrics, queue: &trigger.Queue{}, pace: newStatusPace(),
		patched: twins.patched,
	}
}

// to has objects reconciled through a queue.
func to(queue *trigger.Queue, priority int) func(types.NamespacedName) {
	return func(name types.NamespacedName) { queue.Enqueue(name, priority) }
}

// newReadBack has the DeviceTwins reconciled whose twins moved, and the HubConnections
// that cannot be read back, which are to be proved anew.
func newReadBack(twins, hubs *trigger.Queue, probes *probes) *readback.Group {
	return readback.NewGroup(clock.RealClock{}, readback.Callbacks{
		Moved: func(object types.NamespacedName) { twins.Enqueue(object, trigger.News) },
		Failing: func(hub types.NamespacedName) {
			probes.expire(hub)
			hubs.Enqueue(hub, trigger.News)
		},
		Late: func(hub types.NamespacedName) { hubs.Enqueue(hub, trigger.News) },
	})
}

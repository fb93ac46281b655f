// Command manager runs the controllers of the DeviceTwin operator.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // for TZ, in images that hold no files of zones

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/internal/admission"
	"github.com/devicetwin-io/devicetwin-operator/internal/credentials"
	"github.com/devicetwin-io/devicetwin-operator/internal/gcfloor"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/lease"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// leaderElectionID names the Lease; one manager at a time acts. Each shard has a Lease
// of its own, which is called after it.
const leaderElectionID = "devicetwin-operator.iothub.devicetwin.io"

// heapSlack is how many bytes are allocated between two garbage collections at least.
const heapSlack = 64 << 20

// readyTimeout is below the second that a kubelet waits for a probe by default.
const readyTimeout = 500 * time.Millisecond

type options struct {
	metricsAddress  string
	secureMetrics   bool
	probeAddress    string
	pprofAddress    string
	webhookAddress  string
	webhookCertDir  string
	leaderElect     bool
	election        election
	selector        string
	namespaces      string
	hostSuffixes    string
	workers         int
	shutdownTimeout time.Duration
	deletionTimeout time.Duration
	authorityHost   string
	entraCAFile     string
	entraScope      string
	entraAudience   string
	otlpEndpoint    string
	showVersion     bool
	logLevel        logLevel
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == checkCommand {
		os.Exit(check(ctrl.SetupSignalHandler(), os.Args[2:], os.Stdout, os.Stderr))
	}
	opts, logging := parse()
	if opts.showVersion {
		fmt.Println(version.Line("manager"))
		return
	}
	gcfloor.Hold(heapSlack)
	opts.logLevel = newLogLevel(logging)
	logging.Level = opts.logLevel.AtomicLevel
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging)))
	if err := run(ctrl.SetupSignalHandler(), opts); err != nil {
		ctrl.Log.WithName("setup").Error(err, "the manager cannot run")
		os.Exit(1)
	}
}

func parse() (options, zap.Options) {
	opts := options{shutdownTimeout: 20 * time.Second}
	flag.StringVar(&opts.metricsAddress, "metrics-bind-address", "0",
		"address to serve Prometheus metrics on, such as :8443; 0 serves none")
	flag.BoolVar(&opts.secureMetrics, "metrics-secure", true,
		"serve metrics over HTTPS to clients that the API server authenticates and authorizes, and the log's level at /log-level for them to change; false serves plain HTTP to anybody who reaches the address")
	flag.StringVar(&opts.probeAddress, "health-probe-bind-address", ":8081",
		"address to serve /healthz and /readyz on; 0 serves none")
	flag.StringVar(&opts.pprofAddress, "pprof-bind-address", "0",
		"address to serve Go's profiles on, at /debug/pprof/: keep it on loopback, such as 127.0.0.1:6060, since they show what is in memory to anybody who reaches it; 0 serves none")
	flag.StringVar(&opts.webhookCertDir, "webhook-cert-dir", "",
		"folder with tls.crt and tls.key to serve the admission webhooks with; renewed files are taken up; empty serves no webhooks")
	flag.StringVar(&opts.webhookAddress, "webhook-bind-address", ":9443", "address to serve the admission webhooks on")
	flag.BoolVar(&opts.leaderElect, "leader-elect", false,
		"act only while holding a Lease, so that several managers can stand by")
	flag.StringVar(&opts.election.namespace, "leader-elect-namespace", "",
		"namespace of the Lease; empty is the manager's own")
	flag.DurationVar(&opts.election.lease, "leader-elect-lease-duration", 15*time.Second,
		"how long a Lease that is not renewed keeps other managers from taking over")
	flag.DurationVar(&opts.election.renew, "leader-elect-renew-deadline", 10*time.Second,
		"how long the leader tries to renew its Lease before it gives up and ends")
	flag.DurationVar(&opts.election.retry, "leader-elect-retry-period", 2*time.Second,
		"how long managers wait between two tries to take or renew the Lease")
	flag.StringVar(&opts.selector, "watch-label-selector", "",
		"label selector, such as iothub.devicetwin.io/shard=a, of the HubConnections, DeviceTwins, DeviceTwinSets and TwinQueries to keep: a shard of the fleet, with a Lease of its own. "+
			"No two shards may overlap, and all HubConnections of one hub have to be in one; see docs/sharding.md. Empty keeps all")
	flag.StringVar(&opts.namespaces, "watch-namespaces", "",
		"comma-separated namespaces of the HubConnections, DeviceTwins, DeviceTwinSets and TwinQueries to keep, such as plant-a,plant-b: nothing is read or written outside of them, "+
			"so that a Role in each suffices, and the Lease is one of its own. No two managers may have the same; see docs/install.md. Empty keeps those of all namespaces")
	flag.StringVar(&opts.hostSuffixes, "allowed-host-suffixes", strings.Join(hub.DefaultAllowedHostSuffixes(), ","),
		"comma-separated host names that HubConnections may name, each alone, or suffixes that begin with a dot, for the names below; no token is made for any other host")
	flag.IntVar(&opts.workers, "workers", 64, "objects of each kind to work on at the same time; at most a quarter of them talk to one hub")
	flag.DurationVar(&opts.deletionTimeout, "deletion-timeout", 10*time.Minute,
		"how long to try to clean up the hub after a DeviceTwin of deletionPolicy Clear or Delete is deleted; then its finalizer is removed")
	flag.StringVar(&opts.authorityHost, "entra-authority-host", hub.DefaultAuthorityHost,
		"where HubConnections with a workload identity sign in: another one for a sovereign cloud or an emulator")
	flag.StringVar(&opts.entraCAFile, "entra-ca-file", "",
		"file with PEM certificates to trust at --entra-authority-host instead of the system's")
	flag.StringVar(&opts.entraScope, "entra-scope", "",
		"what Entra ID calls the service API of IoT hubs, such as https://iothubs.azure.net/.default; by default that of the cloud of --entra-authority-host")
	flag.StringVar(&opts.entraAudience, "entra-exchange-audience", "",
		"what service account tokens are to be for, such as api://AzureADTokenExchange; by default that of the cloud of --entra-authority-host")
	flag.StringVar(&opts.otlpEndpoint, "otlp-endpoint", "",
		"URL of an OpenTelemetry collector to send traces to, by OTLP over gRPC, such as http://collector:4317 (https with TLS); OTEL_TRACES_SAMPLER and OpenTelemetry's other environment variables count; empty traces nothing")
	flag.BoolVar(&opts.showVersion, "version", false, "print the version and stop")
	// A hub that does not answer is an error of every day: no stack traces for it.
	logging := zap.Options{TimeEncoder: zapcore.RFC3339NanoTimeEncoder, StacktraceLevel: zapcore.PanicLevel}
	logging.BindFlags(flag.CommandLine)
	flag.Usage = usage
	flag.Parse()
	return opts, logging
}

func usage() {
	fmt.Fprint(flag.CommandLine.Output(), `manager keeps Azure IoT Hub device twins as declared by DeviceTwin objects.

In a cluster it uses its ServiceAccount. Elsewhere name a cluster:

  manager --kubeconfig ~/.kube/config

To keep a shard of a fleet, beside managers that keep others:

  manager --leader-elect --watch-label-selector iothub.devicetwin.io/shard=a

To keep what is in some namespaces, with rights there alone:

  manager --leader-elect --watch-namespaces plant-a,plant-b

To reach a hub emulator on this machine as well as Azure:

  manager --allowed-host-suffixes .azure-devices.net,localhost

To find out whether an installation works:

  manager check --help

Flags:
`)
	flag.PrintDefaults()
}

func run(ctx context.Context, opts options) error {
	part, err := opts.shard()
	if err != nil {
		return err
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding a cluster (name one with --kubeconfig): %w", err)
	}
	webhooks, err := webhookServer(opts)
	if err != nil {
		return err
	}
	lock, err := opts.lock(config, part.Lease(leaderElectionID))
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, managerOptions(opts, part, scheme, webhooks, lock))
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	if err := addProbes(mgr); err != nil {
		return err
	}
	if webhooks != nil {
		if err := addWebhooks(mgr); err != nil {
			return err
		}
	}
	entra, err := entraOptions(opts)
	if err != nil {
		return err
	}
	provider, flush, err := traces(ctx, opts)
	if err != nil {
		return fmt.Errorf("--otlp-endpoint: %w", err)
	}
	defer flush()
	hubMetrics, ownMetrics, err := newMetrics()
	if err != nil {
		return err
	}
	if err := controllers.Setup(ctx, mgr, controllers.Options{
		Sessions:            hub.NewPool(poolOptions(opts, hubMetrics, lock)),
		AllowedHostSuffixes: split(opts.hostSuffixes),
		Workers:             opts.workers,
		Shard:               part,
		DeletionTimeout:     opts.deletionTimeout,
		Entra:               entra,
		Metrics:             ownMetrics,
		Tracing:             provider,
	}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// newMetrics are those of the hubs and of the controllers, registered to be served.
func newMetrics() (*hub.Metrics, *controllers.Metrics, error) {
	ofHubs, own := hub.NewMetrics(), controllers.NewMetrics()
	for _, collector := range []prometheus.Collector{ofHubs, own} {
		if err := metrics.Registry.Register(collector); err != nil {
			return nil, nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return ofHubs, own, nil
}

// shard is what the manager keeps.
func (o options) shard() (shard.Shard, error) {
	selected, err := shard.Parse(o.selector)
	if err != nil {
		return shard.Shard{}, fmt.Errorf("--watch-label-selector: %w", err)
	}
	part, err := selected.In(o.namespaces)
	if err != nil {
		return shard.Shard{}, fmt.Errorf("--watch-namespaces: %w", err)
	}
	return part, nil
}

func poolOptions(opts options, hubMetrics *hub.Metrics, lock *lease.Lock) hub.PoolOptions {
	return hub.PoolOptions{
		Metrics:     hubMetrics,
		UserAgent:   "devicetwin-operator/" + version.Get(),
		Fence:       lock.Check,
		MaxInFlight: controllers.PlacesPerHub(opts.workers),
	}
}

func managerOptions(opts options, part shard.Shard, scheme *runtime.Scheme, webhooks webhook.Server, lock *lease.Lock) ctrl.Options {
	out := ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsOptions(opts),
		WebhookServer:                 webhooks,
		HealthProbeBindAddress:        opts.probeAddress,
		PprofBindAddress:              opts.pprofAddress,
		LeaderElection:                lock != nil,
		LeaderElectionID:              part.Lease(leaderElectionID),
		LeaseDuration:                 &opts.election.lease,
		RenewDeadline:                 &opts.election.renew,
		RetryPeriod:                   &opts.election.retry,
		LeaderElectionReleaseOnCancel: true, // main ends right after the manager does
		GracefulShutdownTimeout:       &opts.shutdownTimeout,
		Cache:                         part.Cached(cache.Options{}),
	}
	if lock != nil { // not a nil pointer in an interface
		out.LeaderElectionResourceLockInterface = lock
	}
	return out
}

func entraOptions(opts options) (credentials.EntraOptions, error) {
	entra := credentials.EntraOptions{AuthorityHost: opts.authorityHost, Scope: opts.entraScope, ExchangeAudience: opts.entraAudience}
	if opts.entraCAFile == "" {
		return entra, nil
	}
	var err error
	if entra.CABundle, err = os.ReadFile(opts.entraCAFile); err != nil {
		return entra, fmt.Errorf("reading --entra-ca-file: %w", err)
	}
	return entra, nil
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}

func metricsOptions(opts options) metricsserver.Options {
	out := metricsserver.Options{BindAddress: opts.metricsAddress, SecureServing: opts.secureMetrics}
	if opts.secureMetrics {
		out.FilterProvider = filters.WithAuthenticationAndAuthorization
		out.ExtraHandlers = map[string]http.Handler{logLevelPath: opts.logLevel}
		// HTTP/2 has let one client exhaust a server; metrics need none of it.
		out.TLSOpts = []func(*tls.Config){func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }}
	}
	return out
}

// addProbes serves liveness, which is not tied to any hub, and readiness, which
// waits for the caches.
func addProbes(mgr ctrl.Manager) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("caches", func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), readyTimeout)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches have not synced")
		}
		return nil
	})
}

// webhookServer is nil where no webhooks are wanted.
func webhookServer(opts options) (webhook.Server, error) {
	if opts.webhookCertDir == "" {
		return nil, nil
	}
	return admission.NewServer(opts.webhookAddress, opts.webhookCertDir)
}

// addWebhooks serves admission; readiness waits for it, so that the Service does
// not lead the API server to a manager that does not answer yet.
func addWebhooks(mgr ctrl.Manager) error {
	if err := admission.Setup(mgr); err != nil {
		return err
	}
	return mgr.AddReadyzCheck("webhooks", mgr.GetWebhookServer().StartedChecker())
}

func split(list string) []string {
	var out []string
	for _, item := range strings.Split(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

package model_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

const (
	// patience bounds every wait; nothing here takes a tenth of it on an idle machine.
	patience = 60 * time.Second
	poll     = 10 * time.Millisecond
	// readBack is the shortest interval that is allowed.
	readBack = time.Second
	// pace is that of a manager that waits for something.
	pace = 100 * time.Millisecond
)

// world is one sequence's own: a hub with two devices, a namespace, the managers
// that see just that, and what the rules say of it.
type world struct {
	WithT
	t      *rapid.T
	client client.Client
	hub    *hubemulator.Server
	front  *front // of the hub, where the managers reach it
	ns     string
	tenant *tenant
	clock  *clocktesting.FakePassiveClock
	timer  clock.PassiveClock // of the managers
	// managers that run, the oldest first.
	managers []*manager
	started  int // managers so far
	devices  []*device
	readOnly bool
	gone     []string // objects that went without a finalizer since the last rest
	events   int      // since the last rest
	// snapshots of the hub, one of each rest.
	snapshots []snapshot
	nonce     int
	kept      *http.Client // of another writer that writes often; nil for none
	began     time.Time
	traced    sync.Mutex
	trace     []string // what happened, for humans
}

// device is one device, and what is declared about it.
type device struct {
	id        string
	reference *reference.Device
	// objects by name.
	objects map[string]*declared
	// made counts the objects that there were.
	made int
}

// declared is a DeviceTwin as it was applied last.
type declared struct {
	name, uid string
	number    int
	spec      v1alpha1.DeviceTwinSpec
	leaves    reference.Leaves
	// leaving objects are deleted, and wait for the hub to be cleaned up.
	leaving bool
	// saved is the ownership record at the last rest; "" for none.
	saved string
}

type manager struct {
	cancel context.CancelFunc
	ended  chan error
	writes *writes
	gate   *gate
}

// writes are those of one manager to the API server that it accepted.
type writes struct {
	mu   sync.Mutex
	made []string
}

// add notes a write to an object of a namespace.
func (w *writes) add(req *http.Request, ns string) {
	_, name, ours := strings.Cut(req.URL.Path, "/namespaces/"+ns+"/")
	if !ours {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made = append(w.made, req.Method+" "+name)
}

// after are the writes that came after so many.
func (w *writes) after(n int) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.made[n:])
}

// context does not end: the checks at a sequence's end need one as well.
func (w *world) context() context.Context { return context.Background() }

func newWorld(t *rapid.T) *world {
	w := &world{
		WithT: *NewWithT(t), t: t, client: suite.client, began: time.Now(),
		clock: clocktesting.NewFakePassiveClock(time.Now()),
	}
	w.timer = w.clock
	var ids []string
	for _, id := range []string{"d1", "d2"} {
		ids = append(ids, id)
		w.devices = append(w.devices, &device{id: id, reference: reference.NewDevice(), objects: map[string]*declared{}})
	}
	var err error
	w.hub, err = hubemulator.Start(w.context(), hubemulator.Options{Devices: append(ids, tenantDevice)})
	w.Expect(err).NotTo(HaveOccurred())
	w.front = w.frontHub()
	w.ns = w.newNamespace()
	w.tenant = &tenant{ns: w.newNamespace(), kind: rapid.SampledFrom(tenantKinds).Draw(t, "the other tenant")}
	w.connect()
	w.startManager()
	w.note("a hub with two devices, and a manager")
	return w
}

func (w *world) newNamespace() string {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "model-"}}
	w.Expect(w.client.Create(w.context(), ns)).To(Succeed())
	return ns.Name
}

func (w *world) connect() {
	secret := &corev1.Secret{ObjectMeta: w.meta("hub"), StringData: map[string]string{"connectionString": w.front.credential(w)}}
	w.Expect(w.client.Create(w.context(), secret)).To(Succeed())
	w.Expect(w.client.Create(w.context(), w.connection(w.ns))).To(Succeed())
}

// connection is a HubConnection that is not created yet, with more of a share than a
// sequence needs.
func (w *world) connection(ns string) *v1alpha1.HubConnection {
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hub"}}
	conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: "hub"}
	conn.Spec.CABundle = suite.certificatePEM
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = readBack, readBack
	conn.Spec.Tier = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10}
	conn.Spec.Budget.RatePercent = 100
	return conn
}

// close stops everything, whatever happened before.
func (w *world) close() {
	w.tenant.stop()
	for _, m := range w.managers {
		m.cancel()
		m.gate.open()
	}
	if err := w.hub.Close(); err != nil { // releases what it holds
		w.t.Errorf("closing the hub: %v", err)
	}
	for _, m := range w.managers {
		if err := <-m.ended; err != nil {
			w.t.Errorf("a manager ended: %v", err)
		}
	}
	w.front.close()
}

func (w *world) startManager() {
	w.started++
	made, through, agent := &writes{}, &gate{}, fmt.Sprintf("manager-%d", w.started)
	w.front.add(agent, through)
	account := suite.env.Config()
	account.Wrap(func(next http.RoundTripper) http.RoundTripper { return through.guard(noteWrites(next, made, w.ns)) })
	mgr := w.newManager(account)
	ctx, cancel := context.WithCancel(w.context())
	w.Expect(controllers.Setup(ctx, mgr, controllers.Options{
		Sessions:            hub.NewPool(hub.PoolOptions{UserAgent: agent, Fence: through.fence}),
		AllowedHostSuffixes: []string{"localhost"},
		RetryInterval:       pace, MaxBackoff: pace,
		DeletionTimeout: 10000 * time.Hour, // by a clock that is put forward by hours
		Clock:           w.timer,
	})).To(Succeed())
	m := &manager{cancel: cancel, ended: make(chan error, 1), writes: made, gate: through}
	go func() { m.ended <- mgr.Start(ctx) }()
	w.managers = append(w.managers, m)
	for _, d := range w.devices {
		d.reference.Start()
	}
}

func (w *world) newManager(account *rest.Config) ctrl.Manager {
	mgr, err := ctrl.NewManager(account, ctrl.Options{
		Scheme:  suite.scheme,
		Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{w.ns: {}, w.tenant.ns: {}}},
		// A panic is the end of the test, not a retry that hides it.
		Controller:     config.Controller{SkipNameValidation: ptr.To(true), RecoverPanic: ptr.To(false)},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return suite.mapper, nil },
	})
	w.Expect(err).NotTo(HaveOccurred())
	return mgr
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

func noteWrites(next http.RoundTripper, made *writes, ns string) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		if req.Method != http.MethodGet && err == nil && resp.StatusCode < http.StatusBadRequest {
			made.add(req, ns) // one made from an old copy is refused, and changes nothing
		}
		return resp, err
	})
}

// stopManager stops the oldest manager and waits until it has stopped.
func (w *world) stopManager() {
	m := w.managers[0]
	w.managers = w.managers[1:]
	m.cancel()
	m.gate.open()
	w.Expect(<-m.ended).To(Succeed())
	for _, d := range w.devices {
		d.reference.Stop()
	}
}

// held is a twin's writable part on the hub; false when there is no such device.
func (w *world) held(id string) (leaves reference.Leaves, etag string, registered bool) {
	leaves, etag, err := readTwin(w.hub.TwinJSON(id))
	if err != nil {
		return reference.Leaves{}, "", false
	}
	return leaves, etag, true
}

func readTwin(text []byte, err error) (leaves reference.Leaves, etag string, _ error) {
	if err != nil {
		return nil, "", err
	}
	var twin struct {
		ETag       string
		Tags       json.RawMessage
		Properties struct{ Desired map[string]any }
	}
	if err := json.Unmarshal(text, &twin); err != nil {
		return nil, "", err
	}
	delete(twin.Properties.Desired, "$metadata")
	delete(twin.Properties.Desired, "$version")
	desired, err := json.Marshal(twin.Properties.Desired)
	if err != nil {
		return nil, "", err
	}
	tags, err := reference.Parse("tags", twin.Tags)
	if err != nil {
		return nil, "", err
	}
	below, err := reference.Parse("desired", desired)
	return reference.Join(tags, below), twin.ETag, err
}

// calls counts what the hub was asked and has answered, by operation.
func (w *world) calls(operation string) int64 { return w.hub.Counters().Operations[operation].Calls }

func (w *world) happened() []string {
	w.traced.Lock()
	defer w.traced.Unlock()
	return slices.Clone(w.trace)
}

// note says what happened.
func (w *world) note(format string, args ...any) {
	w.events++
	w.tell(w.readable(fmt.Sprintf(format, args...)))
}

// tell adds a line to the trace; any goroutine may.
func (w *world) tell(text string) {
	w.traced.Lock()
	defer w.traced.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%6.2fs %s", time.Since(w.began).Seconds(), text))
}

// readable shows objects by their names.
func (w *world) readable(text string) string {
	for _, d := range w.devices {
		for _, obj := range d.objects {
			text = strings.ReplaceAll(text, obj.uid, obj.name)
		}
	}
	return text
}

// fail ends the sequence.
func (w *world) fail(err error) {
	text := w.readable(err.Error())
	w.tell("FAILED: " + text)
	w.t.Fatal(text)
}

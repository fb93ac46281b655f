package readback

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 20 * time.Second
	poll     = 10 * time.Millisecond
	interval = 50 * time.Millisecond
)

// fleet is one test's hub, and objects that manage some of its devices.
type fleet struct {
	*testing.T
	WithT
	hub     *hubemulator.Server
	session hub.Session
	group   *Group
	key     types.NamespacedName

	mu      sync.Mutex
	handed  map[string]int  // documents from the index, by device
	read    map[string]int  // direct reads
	deaf    map[string]bool // objects that do not come for what they are told of
	failing int
	late    int // how often a read-back became late, or late no more
}

func newFleet(t *testing.T, options hubemulator.Options, settings Settings) *fleet {
	t.Helper()
	return newFleetBy(t, clock.RealClock{}, options, dispatch.Limits{QueriesPerMinute: 1e6, ReadsPerSecond: 1e4, UpdatesPerSecond: 1e4}, settings)
}

// newFleetBy runs all but the hub by a clock, within limits.
func newFleetBy(t *testing.T, by clock.WithDelayedExecution, options hubemulator.Options, limits dispatch.Limits, settings Settings) *fleet {
	t.Helper()
	f := &fleet{
		T: t, WithT: *NewWithT(t), key: types.NamespacedName{Namespace: "ns", Name: "hub"},
		handed: map[string]int{}, read: map[string]int{}, deaf: map[string]bool{},
	}
	var err error
	f.hub, err = hubemulator.Start(context.Background(), options)
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { f.Expect(f.hub.Close()).To(Succeed()) })
	text, err := f.hub.ServiceConnectionString("service")
	f.Expect(err).NotTo(HaveOccurred())
	pool := hub.NewPool(hub.PoolOptions{Limits: limits, Clock: by})
	f.session, err = pool.Session("hub", hub.Config{
		ConnectionString: text, CABundle: f.hub.CACertificatePEM(), AllowedHostSuffixes: []string{"localhost"},
	})
	f.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { pool.Forget("hub") })
	f.group = NewGroup(by, Callbacks{Moved: func(name types.NamespacedName) { go f.deal(name.Name) }, Failing: func(types.NamespacedName) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failing++
	}, Late: func(types.NamespacedName) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.late++
	}})
	f.group.soonest = 0
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.group.Start(ctx) }()
	t.Cleanup(func() { stop(); f.Expect(<-ended).To(Succeed()) })
	f.group.Serve(f.key, f.session, settings)
	return f
}

// manage has an object manage each device.
func (f *fleet) manage(devices ...string) {
	for _, device := range devices {
		f.group.Track(types.NamespacedName{Namespace: "ns", Name: device}, f.key, hub.ID{Device: device})
	}
}

func (f *fleet) known(device string) *Known {
	return f.group.Of(types.NamespacedName{Namespace: "ns", Name: device})
}

// deal does what a controller does with what it is told.
func (f *fleet) deal(device string) {
	f.mu.Lock()
	deaf := f.deaf[device]
	f.mu.Unlock()
	if deaf {
		return
	}
	known := f.known(device)
	evidence := known.Evidence()
	count := f.handed
	switch {
	case evidence.Doubt:
		count = f.read
		f.look(device)
	case evidence.Twin != nil:
		known.Dealt(evidence.Twin, false)
	default:
		return
	}
	f.mu.Lock()
	count[device]++
	f.mu.Unlock()
}

// look reads a twin from the hub itself, as for an object that was edited.
func (f *fleet) look(devices ...string) {
	for _, device := range devices {
		twin, err := f.session.GetTwin(context.Background(), hub.ID{Device: device})
		switch hub.ReasonOf(err) {
		case "":
			f.known(device).Dealt(twin, true)
		case hub.ReasonDeviceNotFound:
			f.known(device).Gone()
		default: // nothing was learned of it
		}
	}
}

// tag writes a tag, as another back end.
func (f *fleet) tag(device string, value any) {
	f.Helper()
	twin, err := f.session.GetTwin(context.Background(), hub.ID{Device: device})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.session.PatchTwin(context.Background(), hub.ID{Device: device}, twin.ETag, hub.Patch{Tags: map[string]any{"tag": value}})
	f.Expect(err).NotTo(HaveOccurred())
}

func (f *fleet) report(device string, value int) {
	f.Helper()
	text, err := json.Marshal(map[string]int{"reported": value})
	f.Expect(err).NotTo(HaveOccurred())
	_, err = f.hub.Report(device, text)
	f.Expect(err).NotTo(HaveOccurred())
}

func (f *fleet) documents(device string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.handed[device]
}

func (f *fleet) reads(device string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read[device]
}

// total sums what all objects were given.
func (f *fleet) total(of map[string]int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	total := 0
	for _, n := range of {
		total += n
	}
	return total
}

// keeper returns one over what is known that does nothing by itself.
func (f *fleet) keeper(settings Settings) *poller {
	k := newPoller(f.group.clock, f.group.hubs[f.key].fingerprints, 0, func() {})
	k.serve(f.session, settings)
	return k
}

func (f *fleet) queries() int64 { return f.hub.Counters().Operations["query"].Calls }

// awaitQueries waits until the hub was asked n more times.
func (f *fleet) awaitQueries(n int64) {
	f.Helper()
	before := f.queries()
	f.Eventually(func() int64 { return f.queries() - before }, patience, poll).Should(BeNumerically(">=", n))
}

func (f *fleet) fault(fault hubemulator.Fault) string {
	f.Helper()
	id, err := f.hub.AddFault(fault)
	f.Expect(err).NotTo(HaveOccurred())
	return id
}

// hits is how often a fault was met.
func (f *fleet) hits(id string) int {
	states := f.hub.Faults()
	i := slices.IndexFunc(states, func(s hubemulator.FaultState) bool { return s.ID == id })
	f.Expect(i).To(BeNumerically(">=", 0))
	return states[i].Hits
}

func devices(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("device-%04d", i)
	}
	return out
}

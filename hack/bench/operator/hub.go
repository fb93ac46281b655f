package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/hubclient"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/mqttdevice"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/emulator"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

// profile is the size of a hub: as its HubConnection declares it, and as the emulator
// enforces it.
type profile struct {
	sku         v1alpha1.SKU
	units, rate int32
	throttled   bool
	// readBack is the interval of it, where it is not that of the others.
	readBack time.Duration
}

func (p profile) String() string {
	hub := "unthrottled hub"
	if p.throttled {
		hub = fmt.Sprintf("hub throttled as %s", p.sku)
	}
	return fmt.Sprintf("%s, HubConnection of tier %s x %d with ratePercent %d", hub, p.sku, p.units, p.rate)
}

// unthrottled never refuses, and declares the most there is.
var unthrottled = profile{sku: v1alpha1.SKUS3, units: 10, rate: 100}

// unbounded declares so much that nothing here reaches it: a hub of more units than are sold without asking.
var unbounded = profile{sku: v1alpha1.SKUS3, units: 100, rate: 100}

// hub is one emulator and the HubConnection that leads there.
type hub struct {
	*emulator.Emulator
	*hubclient.Client
	name string
	// ca is the PEM certificate of the hub's own authority.
	ca []byte
	// labels are those of its DeviceTwins.
	labels map[string]string
	profile
}

func (p profile) flags() []string {
	if !p.throttled {
		return nil
	}
	return []string{"--tier", string(p.sku), "--units", fmt.Sprint(p.units)}
}

// addHub starts an emulator with so many devices of each set, and has the manager use it.
func (e *environment) addHub(ctx context.Context, name string, p profile, sets map[string]int, flags ...string) error {
	h, err := e.emulate(ctx, name, p, sets, flags...)
	if err != nil {
		return err
	}
	return e.connect(ctx, h)
}

// emulate starts an emulator with so many devices of each set.
func (e *environment) emulate(ctx context.Context, name string, p profile, sets map[string]int, flags ...string) (*hub, error) {
	dir := filepath.Join(e.work, name)
	fleet, err := writeFleet(dir, sets)
	if err != nil {
		return nil, err
	}
	flags = append(append(p.flags(), "--ephemeral", "--fleet", fleet), flags...)
	started, err := emulator.Start(ctx, e.sup, "hubemulator-"+name, filepath.Join(e.opts.bin, "hubemulator"), dir, flags...)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(started.CAFile())
	if err != nil {
		return nil, err
	}
	client, err := hubclient.New(started.Addresses.HTTPS, ca, started.Service, e.opts.workers)
	if err != nil {
		return nil, err
	}
	h := &hub{Emulator: started, Client: client, name: name, ca: ca, profile: p}
	e.hubs = append(e.hubs, h)
	return h, nil
}

// dropHub ends the environment's last hub.
func (e *environment) dropHub() error {
	last := e.hubs[len(e.hubs)-1]
	e.hubs = e.hubs[:len(e.hubs)-1]
	return e.sup.Stop(last.Process)
}

// connect creates the HubConnection and its Secret.
func (e *environment) connect(ctx context.Context, h *hub) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: h.name},
		StringData: map[string]string{"connectionString": h.Policies["service"]},
	}
	if err := e.kube.Create(ctx, secret); err != nil {
		return err
	}
	return e.kube.Create(ctx, &v1alpha1.HubConnection{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: h.name},
		Spec: v1alpha1.HubConnectionSpec{
			Auth:     v1alpha1.HubAuth{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: h.name}},
			CABundle: h.ca, ReadBack: v1alpha1.ReadBack{Interval: metav1.Duration{Duration: cmp.Or(h.readBack, interval)}},
			Tier:   v1alpha1.Tier{SKU: h.sku, Units: h.units},
			Budget: v1alpha1.Budget{RatePercent: h.rate, DailyMessagesPercent: 100},
		},
	})
}

// calls are what the service API was asked so far. found are the reads of twins that
// there are: a probe asks for one that there is not.
type calls struct{ get, found, patch, query, all, refused, billed int }

func (c calls) since(before calls) calls {
	return calls{
		c.get - before.get, c.found - before.found, c.patch - before.patch, c.query - before.query, c.all - before.all,
		c.refused - before.refused, c.billed - before.billed,
	}
}

// calls counts, by the emulator's counters.
func (h *hub) calls(ctx context.Context) (calls, error) {
	counters, err := h.Counters(ctx)
	return callsOf(counters), err
}

func callsOf(counters map[string]emulator.Count) calls {
	c := calls{
		get: counters["getTwin"].Calls, found: counters["getTwin"].Statuses["200"],
		patch: counters["updateTwin"].Calls, query: counters["query"].Calls,
	}
	for name, counted := range counters {
		if strings.HasPrefix(name, "mqtt") {
			continue // the devices' own
		}
		c.all += counted.Calls
		c.refused += counted.Statuses["429"]
		c.billed += counted.Billed
	}
	return c
}

// dial connects a device.
func (h *hub) dial(ctx context.Context, id string) (*mqttdevice.Device, error) {
	service, err := sas.Parse(h.Service)
	if err != nil {
		return nil, err
	}
	key, err := sas.Parse(fmt.Sprintf("HostName=%s;DeviceId=%s;SharedAccessKey=%s", service.Host, id, deviceKey))
	if err != nil {
		return nil, err
	}
	return mqttdevice.Dial(ctx, h.Addresses.MQTT, h.TLS, service.Host, id, key.Token(time.Now().Add(24*time.Hour)))
}

// sendReport sends reported properties and returns when the hub has them.
func sendReport(d *mqttdevice.Device, content map[string]any) (time.Time, error) {
	if err := d.Publish(mqttdevice.TopicReported+"?$rid=1", document(content).Raw); err != nil {
		return time.Time{}, err
	}
	for {
		topic, _, err := d.Receive()
		if err != nil {
			return time.Time{}, err
		}
		if strings.HasPrefix(topic, mqttdevice.TopicAnswers+"204/") {
			return time.Now(), nil
		}
		if strings.HasPrefix(topic, mqttdevice.TopicAnswers) {
			return time.Time{}, fmt.Errorf("the hub answers the report of %s with %s", d.ID, topic)
		}
	}
}

// patches waits until the hub was sent so many updates of twins.
func (r *run) patches(ctx context.Context, n int) (time.Time, error) {
	var at time.Time
	err := r.await(ctx, "twin updates", convergeLimit(n), pollEvery, func() (string, bool, error) {
		at = time.Now()
		c, err := r.hub().calls(ctx)
		return fmt.Sprintf("%d of %d, %d refused", c.patch, n, c.refused), c.patch >= n, err
	})
	return at, err
}

// untilUpdated makes a change, and returns how long it takes until the next update of a
// device's twin reaches the hub. A fault shows that: a call would count against the hub's
// throttles.
func (r *run) untilUpdated(ctx context.Context, deviceID string, limit time.Duration, change func() error) (took time.Duration, err error) {
	id, err := r.hub().AddFault(ctx, emulator.Fault{Operation: "updateTwin", DeviceID: deviceID, Action: "delay", Delay: "1ms"})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := change(); err != nil {
		return 0, err
	}
	err = r.await(ctx, "the update reaches the hub", limit, 2*time.Millisecond, func() (string, bool, error) {
		state, err := r.hub().FaultState(ctx, id)
		took = time.Since(began)
		return "not yet", state.Hits > 0, err
	})
	return took, errors.Join(err, r.hub().RemoveFault(ctx, id))
}

func twinPath(id string) string { return "/twins/" + id }

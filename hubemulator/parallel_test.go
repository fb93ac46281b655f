package hubemulator_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const atOnce = 20

// All hubs are there at the same time, each by itself, and nothing is left of
// them. That can only be seen while no other test runs: this one is not
// parallel.
func TestHubsSideBySide(t *testing.T) {
	before := goleak.IgnoreCurrent()
	hubs := startAtOnce(t)
	use(t, hubs)
	errs := make([]error, len(hubs))
	together(len(hubs), func(i int) { errs[i] = hubs[i].server.Close() })
	for i, h := range hubs {
		h.client.http.CloseIdleConnections()
		NewWithT(t).Expect(errs[i]).NotTo(HaveOccurred())
	}
	goleak.VerifyNone(t, before)
}

// together runs everything at the same time and waits for the end.
func together(n int, run func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { run(i) })
	}
	running.Wait()
}

func startAtOnce(t *testing.T) []*hub {
	t.Helper()
	g := NewWithT(t)
	hubs, errs := make([]*hub, atOnce), make([]error, atOnce)
	together(atOnce, func(i int) {
		h := &hub{clock: testclock.NewFakeClock(startOfTime)}
		h.server, errs[i] = hubemulator.Start(t.Context(), hubemulator.Options{Devices: []string{"d1"}, Clock: h.clock})
		hubs[i] = h
	})
	for i, h := range hubs {
		g.Expect(errs[i]).NotTo(HaveOccurred())
		h.client = newClient(t, h.server)
		h.client.token = h.policyToken(t, "iothubowner")
	}
	return hubs
}

// use writes and reads over HTTPS and MQTT, and finds each hub to be one of
// its own.
func use(t *testing.T, hubs []*hub) {
	t.Helper()
	g := NewWithT(t)
	answers, errs := make([]response, len(hubs)), make([]error, len(hubs))
	together(len(hubs), func(i int) {
		answers[i], errs[i] = hubs[i].do(t.Context(), http.MethodPatch, "/twins/d1"+version, `{"tags":{"a":1}}`)
	})
	for i, h := range hubs {
		g.Expect(errs[i]).NotTo(HaveOccurred())
		g.Expect(answers[i].status).To(Equal(http.StatusOK), answers[i].text)
		expectCounters(t, h.ok(t, http.MethodGet, "/twins/d1", ""), "AAAAAAAAAAI=", "3", "1")

		d := h.connect(t, "d1", transports[i%len(transports)])
		d.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `{"a":1}`)
		g.Eventually(func() any { return at(h.ok(t, http.MethodGet, "/twins/d1", ""), "properties", "reported", "a") }, patience).
			Should(Equal(jsonNumber("1")))
		d.Disconnect(0)

		stranger := *h.client
		stranger.token = hubs[(i+1)%len(hubs)].client.token
		g.Expect(stranger.call(t, http.MethodGet, "/twins/d1", "").status).To(Equal(http.StatusUnauthorized))
	}
}

// readyWithin is what is promised of Start.
const readyWithin = 50 * time.Millisecond

// The machine may have other things to do: one of many starts has to be in
// time. Nothing else runs in this process meanwhile.
func TestStartIsReadyAtOnce(t *testing.T) {
	g := NewWithT(t)
	best := time.Hour
	for range atOnce {
		started := time.Now()
		server, err := hubemulator.Start(t.Context(), hubemulator.Options{Devices: []string{"d1"}})
		best = min(best, time.Since(started))
		g.Expect(err).NotTo(HaveOccurred())
		client := newClient(t, server)
		answer, err := client.do(t.Context(), http.MethodGet, "/twins/d1"+version, "")
		g.Expect(err).NotTo(HaveOccurred(), "it is ready")
		g.Expect(answer.status).To(Equal(http.StatusUnauthorized))
		client.http.CloseIdleConnections()
		g.Expect(server.Close()).To(Succeed())
	}
	t.Logf("ready within %s", best)
	g.Expect(best).To(BeNumerically("<", readyWithin))
}

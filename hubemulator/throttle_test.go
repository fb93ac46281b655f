package hubemulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// startTier starts a hub that makes requests wait by a clock that stands still:
// one that waits unexpectedly fails its test instead of stopping it.
func startTier(t *testing.T, opts hubemulator.Options) *hub {
	t.Helper()
	h := startHubWith(t, opts)
	h.client.http.Timeout = 10 * time.Second
	return h
}

// inBackground sends a request whose answer arrives on the channel; nothing
// arrives if there is none.
func (h *hub) inBackground(t *testing.T, method, path, body string) <-chan response {
	t.Helper()
	answers := make(chan response, 1)
	ctx := t.Context()
	go func() {
		if answer, err := h.do(ctx, method, path+version, body); err == nil {
			answers <- answer
		}
	}()
	return answers
}

func TestTrafficShaping(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startTier(t, hubemulator.Options{Tier: "F1", Devices: []string{"d1"}})
	const query = `{"query":"SELECT * FROM devices"}`
	for range 50 { // of 20 a minute
		h.call(t, http.MethodPost, "/devices/query", query)
	}
	queued := h.inBackground(t, http.MethodPost, "/devices/query", query)
	g.Eventually(h.clock.HasWaiters).Should(BeTrue(), "then each page waits for its turn")
	refused := h.call(t, http.MethodPost, "/devices/query", query)
	expectError(t, refused, http.StatusTooManyRequests, "ThrottlingBacklogTimeout",
		"The request has been throttled. Wait 10 seconds and try again. Operation type: QueryTwins")
	g.Expect(refused.header).NotTo(HaveKey("Retry-After"))
	g.Expect(h.hangsUp(t, http.MethodPost, "/devices/query", query)).To(BeTrue())
	h.clock.Step(2900 * time.Millisecond)
	g.Consistently(queued, "20ms").ShouldNot(Receive())
	h.clock.Step(100 * time.Millisecond)
	var answer response
	g.Eventually(queued).Should(Receive(&answer))
	g.Expect(answer.status).To(Equal(http.StatusOK))

	h.ok(t, http.MethodGet, "/twins/d1", "") // another throttle
	counted := h.server.Counters().Operations["query"]
	g.Expect(counted.Statuses).To(Equal(map[string]int64{"200": 51, "429": 2}))
	g.Expect(counted.BilledMessages%51).To(BeZero(), "refused calls are not billed")
}

// hangsUp reports whether the answer says that the connection ends with it.
func (h *hub) hangsUp(t *testing.T, method, path, body string) bool {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, h.client.base+path+version, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", h.client.token)
	answer, err := h.client.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close() // its content does not matter
	return answer.Close
}

func TestThrottlesOfOperations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, path, body string
		burst              int
	}{
		{http.MethodGet, "/twins/d1", "", 250},
		{http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`, 125},
		{http.MethodPut, "/twins/d1", `{"tags":{"a":1}}`, 125},
		{http.MethodGet, "/devices/d1", "", 250},
		{http.MethodPut, "/devices/d1", "{}", 250},
		{http.MethodGet, "/statistics/devices", "", 250},
		{http.MethodGet, "/statistics/service", "", 250},
		{http.MethodGet, "/jobs", "", 250},
		{http.MethodGet, "/configurations", "", 50},
		{http.MethodPut, "/configurations/c1", "refused", 50},
		{http.MethodPost, "/configurations/testQueries", "{}", 50},
		{http.MethodDelete, "/configurations/c1", "", 50},
		{http.MethodPost, "/devices/d1/applyConfigurationContent", "{}", 50},
	} {
		t.Run(tt.method+tt.path, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startTier(t, hubemulator.Options{Tier: "S1", Units: 1, Devices: []string{"d1"}})
			for range tt.burst {
				h.call(t, tt.method, tt.path, tt.body)
			}
			g.Expect(h.clock.HasWaiters()).To(BeFalse(), "a burst passes")
			queued := h.inBackground(t, tt.method, tt.path, tt.body)
			g.Eventually(h.clock.HasWaiters).Should(BeTrue(), "the next one waits")
			h.clock.Step(3 * time.Second)
			g.Eventually(queued).Should(Receive())
		})
	}
}

func TestBulkThrottlePerEntry(t *testing.T) {
	t.Parallel()
	h := startTier(t, hubemulator.Options{Tier: "F1"})
	bulk := func(round int) response {
		entries := make([]string, 100)
		for i := range entries {
			entries[i] = fmt.Sprintf(`{"id":"d%d-%d","importMode":"create"}`, round, i)
		}
		return h.call(t, http.MethodPost, "/devices", "["+strings.Join(entries, ",")+"]")
	}
	for round := range 2 {
		NewWithT(t).Expect(bulk(round).status).To(Equal(http.StatusOK))
	}
	expectError(t, bulk(2), http.StatusTooManyRequests, "ThrottlingBacklogTimeout",
		"The request has been throttled. Wait 10 seconds and try again. Operation type: RegistryWrite")
	h.ok(t, http.MethodGet, "/devices/d0-0", "")
}

func TestQueueEndsWithItsClientAndTheServer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startTier(t, hubemulator.Options{Tier: "F1"})
	for range 50 {
		h.query(t, `SELECT * FROM devices`)
	}
	h.inBackground(t, http.MethodPost, "/devices/query", `{"query":"SELECT * FROM devices"}`)
	g.Eventually(h.clock.HasWaiters).Should(BeTrue())
	g.Expect(h.server.Close()).To(Succeed())
	g.Expect(h.server.Counters().Operations["query"].Statuses).To(Equal(map[string]int64{"200": 50, "0": 1}))
}

// billed is what an operation has cost since the last call.
func (h *hub) billed(operation string) int64 {
	messages := h.server.Counters().Operations[operation].BilledMessages
	h.server.ResetCounters()
	return messages
}

func TestBilling(t *testing.T) {
	t.Parallel()
	for tier, size := range map[string]int{"F1": 512, "S1": 4096, "": 4096} {
		g := NewWithT(t)
		h := startTier(t, hubemulator.Options{Tier: tier, Devices: []string{"d1"}})
		messages := func(text string) int64 { return int64((len(text) + size - 1) / size) }
		filling := strings.Repeat("v", 1200)
		write := fmt.Sprintf(`{"tags":{"a":%q,"b":%q,"c":%q,"d":%q}}`, filling, filling, filling, filling)
		total := int64(0)
		expect := func(operation string, want int64) {
			t.Helper()
			g.Expect(h.billed(operation)).To(Equal(want), "tier %q, %s", tier, operation)
			total += want
		}
		h.call(t, http.MethodPatch, "/twins/d1", write)
		expect("updateTwin", messages(write))
		h.call(t, http.MethodPut, "/twins/d1", write)
		expect("replaceTwin", messages(write))
		expect("getTwin", messages(h.call(t, http.MethodGet, "/twins/d1", "").text))
		page := h.call(t, http.MethodPost, "/devices/query", `{"query":"SELECT * FROM devices"}`)
		expect("query", messages(page.text))
		h.call(t, http.MethodPost, "/devices/query", `{"query":"SELECT deviceId FROM devices"}`)
		expect("query", 1)

		h.call(t, http.MethodGet, "/devices/d1", "")
		expect("getDevice", 0)
		h.call(t, http.MethodGet, "/statistics/devices", "")
		expect("deviceStatistics", 0)
		h.call(t, http.MethodDelete, "/devices/d1/commands", "")
		expect("purgeCommands", 0)
		h.call(t, http.MethodGet, "/twins/absent", "")
		expect("getTwin", 0)
		h.call(t, http.MethodPatch, "/twins/d1", write, "If-Match", `"stale"`)
		expect("updateTwin", 0)
		if tier != "" {
			g.Expect(h.server.Counters().Quota.Used).To(Equal(total), "tier %q", tier)
		}
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startTier(t, hubemulator.Options{Tier: "F1", Devices: []string{"d1"}})
	// Members that a twin does not have are ignored, but billed.
	large := `{"tags":{},"ignored":"` + strings.Repeat("x", 1_000_000) + `"}`
	for range 4 {
		h.ok(t, http.MethodPatch, "/twins/d1", large)
	}
	_, text := h.admin(t, http.MethodGet, "/counters", "")
	g.Expect(decode[object](t, text)["quota"]).To(Equal(decode[object](t, `{"limit":8000,"used":7816}`)))
	h.ok(t, http.MethodPatch, "/twins/d1", large)

	const exceeded = "The hub's quota of 8000 messages a day is used up. It is reset at 00:00 UTC"
	expectError(t, h.call(t, http.MethodGet, "/twins/d1", ""), http.StatusForbidden, "IotHubQuotaExceeded", exceeded)
	before := h.etag(t)
	expectError(t, h.call(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`), http.StatusForbidden, "IotHubQuotaExceeded", exceeded)
	g.Expect(h.etag(t)).To(Equal(before), "refused is not applied")
	expectError(t, h.call(t, http.MethodPost, "/devices/query", `{"query":"SELECT * FROM devices"}`), http.StatusForbidden, "IotHubQuotaExceeded", exceeded)
	h.ok(t, http.MethodGet, "/devices/d1", "")
	g.Expect(h.server.Counters().Quota).To(Equal(&hubemulator.Quota{Limit: 8000, Used: 9770}))

	midnight := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	h.clock.SetTime(midnight.Add(-time.Nanosecond))
	h.client.token = h.policyToken(t, "iothubowner")
	expectError(t, h.call(t, http.MethodGet, "/twins/d1", ""), http.StatusForbidden, "IotHubQuotaExceeded", exceeded)
	h.clock.SetTime(midnight)
	h.ok(t, http.MethodGet, "/twins/d1", "")
}

func TestNoTierNoLimits(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	for range 300 {
		h.ok(t, http.MethodGet, "/twins/d1", "")
	}
	g.Expect(h.server.Counters().Quota).To(BeNil())
	_, text := h.admin(t, http.MethodGet, "/counters", "")
	g.Expect(text).NotTo(ContainSubstring("quota"))
}

func TestUnknownTier(t *testing.T) {
	t.Parallel()
	_, err := hubemulator.Start(t.Context(), hubemulator.Options{Tier: "B1"})
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring(`tier "B1" is unknown`)))
}

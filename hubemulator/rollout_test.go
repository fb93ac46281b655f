package hubemulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// put creates a configuration, or replaces all but its content.
func (h *hub) put(t *testing.T, id, body string) object {
	t.Helper()
	if answer := h.call(t, http.MethodPut, "/configurations/"+id, body, "If-Match", "*"); answer.status == http.StatusOK {
		return decode[object](t, answer.text)
	}
	return h.ok(t, http.MethodPut, "/configurations/"+id, body)
}

// evaluate evaluates all configurations and returns how many twins it wrote.
func (h *hub) evaluate(t *testing.T) int {
	t.Helper()
	done, err := h.server.EvaluateConfigurations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if done.TwinsRefused != 0 {
		t.Fatalf("%+v", done)
	}
	return done.TwinsWritten
}

// desired is a twin's desired properties without $metadata and $version.
func (h *hub) desired(t *testing.T, path string) object {
	t.Helper()
	desired := at(h.ok(t, http.MethodGet, "/twins/"+path, ""), "properties", "desired").(object)
	delete(desired, "$metadata")
	delete(desired, "$version")
	return desired
}

// statuses are the configurations that a twin says it is targeted by.
func (h *hub) statuses(t *testing.T, path string) map[string]string {
	t.Helper()
	found := map[string]string{}
	configurations, _ := h.ok(t, http.MethodGet, "/twins/"+path, "")["configurations"].(object)
	for id := range configurations {
		found[id] = at(configurations, id, "status").(string)
	}
	return found
}

func (h *hub) results(t *testing.T, id, kind string) any {
	t.Helper()
	return at(h.ok(t, http.MethodGet, "/configurations/"+id, ""), kind, "results")
}

func number(n int) json.Number { return jsonNumber(fmt.Sprint(n)) }

func TestConfigurationIsApplied(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2", "other")
	for _, id := range []string{"d1", "d2"} {
		h.ok(t, http.MethodPatch, "/twins/"+id, `{"tags":{"building":9},"properties":{"desired":{"own":true,"chiller":{"mode":"slow","stays":1}}}}`)
	}
	h.put(t, "c1", configurationBody(`{"properties.desired.chiller":{"mode":"fast"},"properties.desired.deep.a.b":[1],"properties.desired.own":null}`,
		"tags.building = 9", `"metrics":{"queries":{
			"applied":"SELECT deviceId FROM devices WHERE configurations.[[c1]].status = 'Applied'",
			"groups":"SELECT tags.building, COUNT() AS n FROM devices GROUP BY tags.building",
			"top":"SELECT TOP 1 deviceId FROM devices",
			"modules":"SELECT moduleId FROM devices.modules"}}`))
	g.Expect(h.desired(t, "d1")).To(HaveKey("own"), "not before it is evaluated")
	g.Expect(h.results(t, "c1", "systemMetrics")).To(Equal(object{}))

	h.clock.Step(time.Second)
	g.Expect(h.evaluate(t)).To(Equal(2))
	for _, id := range []string{"d1", "d2"} {
		twin := h.ok(t, http.MethodGet, "/twins/"+id, "")
		expectCounters(t, twin, "AAAAAAAAAAM=", "4", "3")
		g.Expect(at(twin, "properties", "desired", "$metadata", "deep", "a", "b")).To(Equal(
			object{"$lastUpdated": "2026-11-20T10:20:31.12345Z", "$lastUpdatedVersion": number(3), lastUpdatedBy: "c1", byDigest: "639307668301234500"}))
		g.Expect(at(twin, "properties", "desired", "$metadata", "chiller", "stays", "$lastUpdatedVersion")).To(Equal(number(2)))
		g.Expect(twin["tags"]).To(Equal(object{"building": number(9)}))
		g.Expect(twin["configurations"]).To(Equal(object{"c1": object{"status": "Applied"}}))
		g.Expect(h.desired(t, id)).To(Equal(object{
			"chiller": object{"mode": "fast", "stays": number(1)}, "deep": object{"a": object{"b": []any{number(1)}}},
		}), "what is there merges, and null deletes")
	}
	g.Expect(h.ok(t, http.MethodGet, "/twins/other", "")).NotTo(HaveKey("configurations"))
	g.Expect(h.desired(t, "other")).To(BeEmpty())

	rows, _ := h.query(t, `SELECT deviceId FROM devices WHERE configurations.[[c1]].status = 'Applied'`)
	g.Expect(idsOf(rows)).To(Equal([]string{"d1", "d2"}))
	rows, _ = h.query(t, `SELECT * FROM devices WHERE deviceId = 'd1'`)
	g.Expect(rows[0]).To(Equal(h.ok(t, http.MethodGet, "/twins/d1", "")))
	g.Expect(h.results(t, "c1", "systemMetrics")).To(Equal(object{"targetedCount": number(2), "appliedCount": number(2)}))
	g.Expect(h.results(t, "c1", "metrics")).To(Equal(object{"applied": number(2), "groups": number(2), "top": number(1), "modules": number(0)}))
	g.Expect(h.ok(t, http.MethodGet, "/configurations/c1", "")["etag"]).To(Equal("MQ=="), "an evaluation is no update")
}

// Tests of az create configurations with such a metric.
func TestMetricWithoutACollection(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1", "d2")
	h.put(t, "c1", configurationBody(`{}`, "deviceId = 'd1'", `"metrics":{"queries":{"all":" select * "}}`))
	h.evaluate(t)
	NewWithT(t).Expect(h.results(t, "c1", "metrics")).To(Equal(object{"all": number(2)}))
}

func TestHeldContentIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":{"b":1},"c":2}}}`)
	h.put(t, "c1", configurationBody(`{"properties.desired.a.b":1,"properties.desired.gone":null}`, "*", ""))
	before := h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(h.evaluate(t)).To(Equal(1))
	after := h.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(after["etag"]).To(Equal(before["etag"]))
	g.Expect(after["properties"]).To(Equal(before["properties"]))
	g.Expect(h.statuses(t, "d1")).To(Equal(map[string]string{"c1": "Applied"}))
	g.Expect(h.evaluate(t)).To(BeZero())

	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":{"b":3}}}}`)
	g.Expect(h.evaluate(t)).To(Equal(1), "another writer's value is written over")
	g.Expect(h.desired(t, "d1")).To(Equal(object{"a": object{"b": number(1)}, "c": number(2)}))
}

func TestHigherPriorityWins(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	content := func(value string) string {
		return `{"properties.desired.a":{"from":` + value + `,` + value + `:1}}`
	}
	h.put(t, "low", configurationBody(content(`"low"`), "*", `"priority":1`))
	h.put(t, "high", configurationBody(content(`"high"`), "*", `"priority":3`))
	h.clock.Step(time.Second)
	h.put(t, "newer", configurationBody(content(`"newer"`), "*", `"priority":3`))
	h.put(t, "beside", configurationBody(`{"properties.desired.b":1,"properties.desired.a.from":"beside"}`, "*", ""))
	h.evaluate(t)
	g.Expect(h.desired(t, "d1")).To(Equal(object{"a": object{"from": "newer", "newer": number(1)}, "b": number(1)}), "of equal priority the newest wins")
	g.Expect(h.statuses(t, "d1")).To(Equal(map[string]string{"low": "Targeted", "high": "Targeted", "newer": "Applied", "beside": "Applied"}),
		"a configuration may be applied in part")
	g.Expect(h.results(t, "low", "systemMetrics")).To(Equal(object{"targetedCount": number(1), "appliedCount": number(0)}))

	h.put(t, "low", configurationBody(`{}`, "*", `"priority":4`))
	h.evaluate(t)
	g.Expect(at(h.desired(t, "d1"), "a", "from")).To(Equal("low"))
	g.Expect(h.statuses(t, "d1")).To(HaveKeyWithValue("low", "Applied"))
	g.Expect(h.statuses(t, "d1")).To(HaveKeyWithValue("newer", "Targeted"))

	h.put(t, "finer", configurationBody(`{"properties.desired.a.from":"finer"}`, "*", `"priority":9`))
	h.evaluate(t)
	g.Expect(at(h.desired(t, "d1"), "a")).To(Equal(object{"from": "finer", "low": number(1), "newer": number(1)}), "of overlapping paths the higher one's part")
	g.Expect(h.statuses(t, "d1")).To(HaveKeyWithValue("low", "Applied"))
}

func TestDeletedConfigurationLeavesWhatItWrote(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.put(t, "a", configurationBody(`{"properties.desired.a":1}`, "*", ""))
	h.put(t, "b", configurationBody(`{"properties.desired.b":1}`, "*", ""))
	h.evaluate(t)
	g.Expect(h.call(t, http.MethodDelete, "/configurations/a", "").status).To(Equal(http.StatusNoContent))
	g.Expect(h.statuses(t, "d1")).To(Equal(map[string]string{"b": "Applied"}))
	rows, _ := h.query(t, `SELECT deviceId FROM devices WHERE IS_DEFINED(configurations.[[a]])`)
	g.Expect(rows).To(BeEmpty())

	h.put(t, "b", configurationBody(`{}`, "tags.a = 1", ""))
	g.Expect(h.evaluate(t)).To(BeZero())
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).NotTo(HaveKey("configurations"), "it is targeted no more")
	g.Expect(h.desired(t, "d1")).To(Equal(object{"a": number(1), "b": number(1)}))
	g.Expect(h.results(t, "b", "systemMetrics")).To(Equal(object{"targetedCount": number(0), "appliedCount": number(0)}))
}

func TestConfigurationNotifiesTheDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	d := h.connect(t, "d1", "TCP")
	d.subscribe("$iothub/twin/PATCH/properties/desired/#")
	h.put(t, "c1", configurationBody(`{"properties.desired.a.b":1,"properties.desired.c":null}`, "*", ""))
	h.evaluate(t)
	notification := d.receive()
	g.Expect(notification.Topic()).To(Equal("$iothub/twin/PATCH/properties/desired/?$version=2"))
	g.Expect(string(notification.Payload())).To(MatchJSON(`{"a":{"b":1},"c":null,"$version":2}`))
	h.evaluate(t)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"d":1}}}`)
	g.Expect(d.receive().Topic()).To(HaveSuffix("$version=3"), "nothing is said twice")
}

func TestConfigurationOfModules(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2")
	for _, path := range []string{"d1/modules/m1", "d1/modules/m2", "d2/modules/m1"} {
		h.ok(t, http.MethodPut, "/devices/"+path, `{}`)
	}
	h.ok(t, http.MethodPatch, "/twins/d1/modules/m1", `{"tags":{"a":1}}`)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)
	h.put(t, "c1", `{"content":{"moduleContent":{"properties.desired.interval":30}},"targetCondition":"FROM devices.modules WHERE moduleId = 'm1' AND tags.a = 1"}`)
	g.Expect(h.evaluate(t)).To(Equal(1))
	g.Expect(h.desired(t, "d1/modules/m1")).To(Equal(object{"interval": number(30)}))
	g.Expect(h.statuses(t, "d1/modules/m1")).To(Equal(map[string]string{"c1": "Applied"}))
	for _, path := range []string{"d1", "d1/modules/m2", "d2/modules/m1"} {
		g.Expect(h.desired(t, path)).To(BeEmpty())
		g.Expect(h.statuses(t, path)).To(BeEmpty())
	}
	g.Expect(h.results(t, "c1", "systemMetrics")).To(Equal(object{"targetedCount": number(1), "appliedCount": number(1)}))
	rows, _ := h.query(t, `SELECT moduleId FROM devices.modules WHERE configurations.[[c1]].status = 'Applied'`)
	g.Expect(rows).To(Equal([]object{{"moduleId": "m1"}}))
}

// What is too large for a twin is left out as a whole, and told.
func TestConfigurationThatATwinCannotTake(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "full", "free")
	h.ok(t, http.MethodPatch, "/twins/full", `{"properties":{"desired":`+sectionOfSize(32768)+`}}`)
	h.put(t, "c1", configurationBody(`{"properties.desired.more":"x"}`, "*", ""))
	done, err := h.server.EvaluateConfigurations(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(done).To(Equal(hubemulator.Evaluation{
		Configurations: 1, TwinsWritten: 1, TwinsRefused: 1,
		Refusal: "DeviceModelMaxPropertiesExceeded (403100): 'Properties.Desired' size should be less than 32768 bytes.",
	}))
	g.Expect(h.desired(t, "full")).NotTo(HaveKey("more"))
	g.Expect(h.statuses(t, "full")).To(Equal(map[string]string{"c1": "Targeted"}))
	g.Expect(h.statuses(t, "free")).To(Equal(map[string]string{"c1": "Applied"}))
}

func TestConfigurationsSeeTwinsLate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	// Twice the lag is over before the hub evaluates by itself.
	const lag = 4 * time.Second
	h := startHubWith(t, hubemulator.Options{Devices: []string{"d1", "gone"}, QueryLag: lag, QueryGhosts: time.Hour})
	h.put(t, "c1", configurationBody(`{"properties.desired.a":1}`, "*", ""))
	g.Expect(h.evaluate(t)).To(BeZero())
	h.clock.Step(lag)
	g.Expect(h.server.RemoveDevice("gone")).To(Succeed())
	g.Expect(h.evaluate(t)).To(Equal(1), "a ghost cannot be written")
	g.Expect(h.desired(t, "d1")).To(Equal(object{"a": number(1)}))
	g.Expect(h.results(t, "c1", "systemMetrics")).To(Equal(object{"targetedCount": number(2), "appliedCount": number(0)}))
	h.clock.Step(lag)
	g.Expect(h.evaluate(t)).To(BeZero())
	g.Expect(h.results(t, "c1", "systemMetrics")).To(Equal(object{"targetedCount": number(2), "appliedCount": number(1)}))
}

func TestConfigurationsAreEvaluatedOnTime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		option              time.Duration
		interval, firstTime time.Duration
	}{
		{0, 5 * time.Minute, 10 * time.Second},
		{time.Hour, time.Hour, 10 * time.Second},
		{4 * time.Second, 4 * time.Second, 4 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.option), func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := startHubWith(t, hubemulator.Options{Devices: []string{"d1"}, ConfigurationInterval: tt.option})
			g.Consistently(h.clock.HasWaiters, "20ms").Should(BeFalse(), "without configurations there is nothing to wait for")
			step := func(d time.Duration) {
				h.clock.Step(d)
				h.token = h.policyToken(t, "iothubowner") // the one before may have expired
			}
			step(24 * time.Hour)
			value := func() any { return at(h.desired(t, "d1"), "a") }
			h.put(t, "c1", configurationBody(`{"properties.desired.a":1}`, "*", ""))
			awaitTimer := func() { g.Eventually(h.clock.HasWaiters, patience).Should(BeTrue()) }

			awaitTimer()
			step(tt.firstTime - 1)
			g.Consistently(value, "20ms").Should(BeNil())
			step(1)
			g.Eventually(value, patience).Should(Equal(number(1)))
			h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":2}}}`)
			awaitTimer()
			step(tt.interval - 1)
			g.Consistently(value, "20ms").Should(Equal(number(2)))
			step(1)
			g.Eventually(value, patience).Should(Equal(number(1)))

			awaitTimer()
			g.Expect(h.call(t, http.MethodDelete, "/configurations/c1", "").status).To(Equal(http.StatusNoContent))
			g.Eventually(h.clock.HasWaiters, patience).Should(BeFalse())
		})
	}
}

func TestNegativeConfigurationInterval(t *testing.T) {
	t.Parallel()
	_, err := hubemulator.Start(t.Context(), hubemulator.Options{ConfigurationInterval: -1})
	NewWithT(t).Expect(err).To(MatchError(ContainSubstring("the interval of configurations cannot be negative")))
}

func TestEvaluationOverTheAdminAPI(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "full")
	evaluate := func() string {
		status, text := h.admin(t, http.MethodPost, "/configurations/evaluate", "")
		g.Expect(status).To(Equal(http.StatusOK), text)
		return text
	}
	g.Expect(evaluate()).To(MatchJSON(`{"configurations":0,"twinsWritten":0,"twinsRefused":0}`))
	h.ok(t, http.MethodPatch, "/twins/full", `{"properties":{"desired":`+sectionOfSize(32768)+`}}`)
	h.put(t, "c1", configurationBody(`{"properties.desired.more":"x"}`, "*", ""))
	g.Expect(evaluate()).To(MatchJSON(`{"configurations":1,"twinsWritten":1,"twinsRefused":1,
		"refusal":"DeviceModelMaxPropertiesExceeded (403100): 'Properties.Desired' size should be less than 32768 bytes."}`))
	g.Expect(h.desired(t, "d1")).To(Equal(object{"more": "x"}))
	status, _ := h.admin(t, http.MethodGet, "/configurations/evaluate", "")
	g.Expect(status).To(Equal(http.StatusMethodNotAllowed))
}

func TestConfigurationsAreFree(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{Tier: "F1", Devices: []string{"d1"}})
	h.ok(t, http.MethodPut, "/devices/e1", `{`+edgeBody+`}`)
	h.put(t, "c1", configurationBody(`{"properties.desired.a":1}`, "*", ""))
	h.evaluate(t)
	h.ok(t, http.MethodGet, "/configurations/c1", "")
	h.call(t, http.MethodGet, "/configurations", "")
	h.ok(t, http.MethodPost, "/configurations/testQueries", `{}`)
	h.call(t, http.MethodPost, "/devices/e1/applyConfigurationContent", `{"modulesContent":{"$edgeAgent":{}}}`)
	h.call(t, http.MethodDelete, "/configurations/c1", "")
	counters := h.server.Counters()
	for operation, status := range map[string]string{
		"putConfiguration": "200", "getConfiguration": "200", "listConfigurations": "200", "testConfigurationQueries": "200",
		"applyConfigurationContent": "204", "deleteConfiguration": "204",
	} {
		counted := counters.Operations[operation]
		g.Expect(counted.Statuses).To(HaveKeyWithValue(status, int64(1)), operation)
		g.Expect(counted.BilledMessages).To(BeZero(), operation)
	}
	g.Expect(counters.Quota.Used).To(BeZero())
}

func TestConfigurationsOutliveARestart(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1", "d2"}})
	h.ok(t, http.MethodPut, "/devices/e1", `{`+edgeBody+`}`)
	h.put(t, "second", configurationBody(`{"properties.desired.a":{"b":1.50,"c":null}}`, "deviceId = 'd1'",
		`"schemaVersion":"1.0","labels":{},"priority":3,"metrics":{"queries":{"m":"SELECT deviceId FROM devices"}}`))
	h.clock.Step(1234567 * time.Microsecond)
	h.put(t, "first", deployment(manifest(`{"sensor":{}}`, ""), "*", ""))
	h.put(t, "second", configurationBody(`{}`, "deviceId = 'd1'", `"labels":{},"metrics":{"queries":{"m":"SELECT deviceId FROM devices"}}`))
	h.put(t, "gone", configurationBody(`{}`, "*", ""))
	h.evaluate(t)
	h.call(t, http.MethodDelete, "/configurations/gone", "")
	tell := func(h *hub) []string {
		told := []string{h.call(t, http.MethodGet, "/configurations", "").text}
		for _, path := range []string{"d1", "d2", "e1/modules/$edgeAgent", "e1/modules/sensor"} {
			told = append(told, h.call(t, http.MethodGet, "/twins/"+path, "").text)
		}
		return told
	}
	before := tell(h)
	g.Expect(before[1]).To(ContainSubstring(`"configurations":{"second":{"status":"Applied"}}`))

	again := h.restart(t, dir, nil)
	g.Expect(tell(again)).To(Equal(before))
	g.Expect(again.evaluate(t)).To(BeZero())
	again.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":null}}}`)
	again.clock.Step(5 * time.Minute)
	g.Eventually(func() any { return at(again.desired(t, "d1"), "a", "b") }, patience).Should(Equal(jsonNumber("1.50")), "it is evaluated on time")
}

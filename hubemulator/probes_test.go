package hubemulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"
)

func (h *hub) statusOf(t *testing.T, method, path, body string, headers ...string) int {
	t.Helper()
	return h.call(t, method, path, body, headers...).status
}

func probeStaleVersion(t *testing.T, h *hub) string {
	t.Helper()
	const stale = `"properties":{"desired":{"a":1,"$version":7}}`
	return fmt.Sprintf("current %d, stale %d, stale PUT %d, stale in bulk %d",
		h.statusOf(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":1,"$version":1}}}`),
		h.statusOf(t, http.MethodPatch, "/twins/d1", `{`+stale+`}`),
		h.statusOf(t, http.MethodPut, "/twins/d1", `{`+stale+`}`),
		h.statusOf(t, http.MethodPost, "/devices", `[{"id":"d1","importMode":"updateTwin",`+stale+`}]`))
}

func probeNullTags(t *testing.T, h *hub) string {
	t.Helper()
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)
	status := h.statusOf(t, http.MethodPatch, "/twins/d1", `{"tags":null,"properties":{"desired":{"b":1}}}`)
	twin := h.ok(t, http.MethodGet, "/twins/d1", "")
	return fmt.Sprintf("%d, tags %v, desired %v", status, twin["tags"], at(twin, "properties", "desired", "b"))
}

func probeUnquotedIfMatch(t *testing.T, h *hub) string {
	t.Helper()
	patch := func(ifMatch string) int {
		return h.statusOf(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`, "If-Match", ifMatch)
	}
	return fmt.Sprintf("current %d, stale %d, wildcard %d, stale in quotes %d",
		patch(h.etag(t).(string)), patch("AAAAAAAAAAk="), patch("*"), patch(`"AAAAAAAAAAk="`))
}

func probeOversize(t *testing.T, h *hub) string {
	t.Helper()
	tags := h.call(t, http.MethodPatch, "/twins/d1", `{"tags":`+filler(8193)+`}`)
	desired := h.call(t, http.MethodPut, "/twins/d1", `{"properties":{"desired":`+filler(32769)+`}}`)
	bulk := h.call(t, http.MethodPost, "/devices", `[{"id":"d3","importMode":"create","tags":`+filler(8193)+`}]`)
	_, reported := h.server.Report("d1", []byte(filler(32769)))
	number := func(text string) string {
		for _, known := range []string{"403100", "413001"} {
			if strings.Contains(text, known) {
				return known
			}
		}
		return text
	}
	return fmt.Sprintf("tags %d %s, desired %d %s, bulk %s, reported %s",
		tags.status, tags.header.Get("iothub-errorcode"), desired.status, desired.header.Get("iothub-errorcode"),
		number(bulk.text), number(fmt.Sprint(reported)))
}

func probeArraySize(t *testing.T, h *hub) string {
	t.Helper()
	array := func(element string, n int) string {
		return `{"tags":{"a":[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]}}`
	}
	return fmt.Sprintf("1100 numbers %d, 3000 empty strings %d",
		h.statusOf(t, http.MethodPut, "/twins/d1", array("1", 1100)),
		h.statusOf(t, http.MethodPut, "/twins/d1", array(`""`, 3000)))
}

// granted is what the hub answers to a subscription, or that it cuts the
// connection instead.
func (d *device) granted(filter string) string {
	d.t.Helper()
	token := d.Subscribe(filter, 1, nil).(*mqtt.SubscribeToken)
	if !token.WaitTimeout(patience) {
		d.t.Fatal("the hub does not answer")
	}
	if token.Error() != nil {
		NewWithT(d.t).Eventually(d.lost, patience).Should(Receive())
		return disconnected
	}
	return fmt.Sprint(token.Result()[filter])
}

const disconnected = "disconnected"

// filters are six different ones that a device may subscribe to by themselves.
var filters = [...]string{
	"$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#", "$iothub/methods/POST/#",
	"devices/d1/messages/devicebound/#", "devices/%641/messages/devicebound/#", "devices/d%31/messages/devicebound/#",
}

const foreignFilter = "devices/d2/messages/devicebound/#"

// inTurn subscribes to filters until the connection is cut.
func (d *device) inTurn(names []string, wanted ...string) string {
	d.t.Helper()
	var seen []string
	for i, filter := range wanted {
		granted := d.granted(filter)
		seen = append(seen, names[i]+" "+granted)
		if granted == disconnected {
			break
		}
	}
	return strings.Join(seen, ", ")
}

func probeSixthSubscription(t *testing.T, h *hub) string {
	t.Helper()
	d := h.connect(t, "d1", "TCP")
	for _, filter := range filters[:5] {
		d.subscribe(filter)
	}
	return d.inTurn([]string{"sixth", "foreign"}, filters[5], foreignFilter)
}

func probeForeignSubscription(t *testing.T, h *hub) string {
	t.Helper()
	d := h.connect(t, "d1", "TCP")
	for _, filter := range filters[:5] {
		d.subscribe(filter)
	}
	return d.inTurn([]string{"foreign", "sixth"}, foreignFilter, filters[5])
}

func probeForeignTopic(t *testing.T, h *hub) string {
	t.Helper()
	d := h.connect(t, "d1", "TCP")
	d.subscribe("$iothub/twin/res/#")
	sent := d.Publish("devices/d2/messages/events/", 1, false, "x")
	if !sent.WaitTimeout(patience) {
		t.Fatal("the hub does not answer")
	}
	if sent.Error() != nil {
		NewWithT(t).Eventually(d.lost, patience).Should(Receive())
		return disconnected
	}
	d.publish("$iothub/twin/GET/?$rid=1", "")
	NewWithT(t).Expect(d.receive().Topic()).To(Equal("$iothub/twin/res/200/?$rid=1"))
	NewWithT(t).Expect(h.server.Counters().Operations).NotTo(HaveKey("mqttTelemetry"))
	return "acknowledged"
}

// probeQueryThrottle uses up what may be had at once. Of two more requests one
// waits then, and the other is refused at once, if they count.
func probeQueryThrottle(t *testing.T, h *hub) string {
	t.Helper()
	text := `SELECT * FROM devices`
	var header http.Header
	for range 50 { // of 20 a minute
		_, header = h.query(t, text, "x-ms-max-item-count", "1")
	}
	answers, ctx := make(chan response, 2), t.Context()
	for range 2 {
		go func() {
			answer, err := h.do(ctx, http.MethodPost, "/devices/query"+version, queryBody(text),
				"x-ms-continuation", header.Get("x-ms-continuation"))
			if err == nil {
				answers <- answer
			}
		}()
	}
	var first response
	NewWithT(t).Eventually(answers, patience).Should(Receive(&first))
	return fmt.Sprintf("next page %d", first.status)
}

func probeRejectedCalls(t *testing.T, h *hub) string {
	t.Helper()
	d := h.connect(t, "d1", "TCP")
	d.subscribe("$iothub/twin/res/#")
	d.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", `[`)
	d.receive()
	statuses := []int{
		h.statusOf(t, http.MethodGet, "/twins/absent", ""),
		h.statusOf(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":"`+strings.Repeat("x", 1200)+`"}}`, "If-Match", `"stale"`),
		h.statusOf(t, http.MethodPost, "/twins/d2/methods", `{"methodName":"m","payload":"`+strings.Repeat("x", 600)+`"}`),
		h.statusOf(t, http.MethodPost, "/devices/query", queryBody(`SELECT`)),
		h.statusOf(t, http.MethodGet, "/devices/absent", ""),                       // of the registry
		h.statusOf(t, http.MethodGet, "/twins/d1", "", "Authorization", "nothing"), // refused before
	}
	NewWithT(t).Expect(statuses).To(Equal([]int{404, 412, 404, 400, 404, 401}))
	counters := h.server.Counters()
	var billed []string
	total := int64(0)
	for _, operation := range []string{"getTwin", "updateTwin", "invokeMethod", "query", "mqttReportedPatch"} {
		messages := counters.Operations[operation].BilledMessages
		billed = append(billed, fmt.Sprintf("%s %d", operation, messages))
		total += messages
	}
	NewWithT(t).Expect(counters.Quota.Used).To(Equal(total))
	return strings.Join(billed, ", ")
}

func probeQuoteEscape(t *testing.T, h *hub) string {
	t.Helper()
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":"it's"}}`)
	ask := func(literal string) int {
		answer := h.call(t, http.MethodPost, "/devices/query", queryBody(`SELECT * FROM devices WHERE tags.a = `+literal))
		if answer.status == http.StatusOK {
			NewWithT(t).Expect(idsOf(decode[[]object](t, answer.text))).To(Equal([]string{"d1"}))
		}
		return answer.status
	}
	return fmt.Sprintf("backslash %d, doubled %d", ask(`'it\'s'`), ask(`'it''s'`))
}

// probeConnack connects as an older client of MQTT would.
func probeConnack(t *testing.T, h *hub) string {
	t.Helper()
	d := h.newDevice(t, "d1", "TCP", func(o *mqtt.ClientOptions) { o.SetProtocolVersion(3) })
	connecting := d.Connect()
	if !connecting.WaitTimeout(patience) {
		t.Fatal("the hub does not answer")
	}
	return fmt.Sprint(connecting.Error())
}

// probeEmptyPage follows the continuations of three queries: of no row, of one,
// and of two in pages of one. It shows the rows of each page, with a plus if
// there is a continuation.
func probeEmptyPage(t *testing.T, h *hub) string {
	t.Helper()
	var pages []string
	for _, text := range []string{
		`SELECT * FROM devices WHERE deviceId = 'none'`, `SELECT COUNT() AS n FROM devices`, `SELECT deviceId FROM devices`,
	} {
		for token, more := "", true; more; {
			rows, header := h.query(t, text, "x-ms-max-item-count", "1", "x-ms-continuation", token)
			token = header.Get("x-ms-continuation")
			page := fmt.Sprint(len(rows))
			if more = token != ""; more {
				page += "+"
			}
			pages = append(pages, page)
		}
	}
	return strings.Join(pages, " ")
}

func probeLogicOrder(t *testing.T, h *hub) string {
	t.Helper()
	rows, _ := h.query(t, `SELECT * FROM devices WHERE deviceId = 'd1' OR deviceId = 'd2' AND deviceId = 'd2'`)
	return strings.Join(idsOf(rows), " ")
}

func probeTypeFunctions(t *testing.T, h *hub) string {
	t.Helper()
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":"1"}}`)
	h.ok(t, http.MethodPatch, "/twins/d2", `{"tags":{"a":1}}`)
	answer := h.call(t, http.MethodPost, "/devices/query", queryBody(`SELECT * FROM devices WHERE IS_STRING(tags.a)`))
	if answer.status != http.StatusOK {
		return fmt.Sprint(answer.status)
	}
	return fmt.Sprint(answer.status, " ", strings.Join(idsOf(decode[[]object](t, answer.text)), " "))
}

func probeAggregateName(t *testing.T, h *hub) string {
	t.Helper()
	rows, _ := h.query(t, `SELECT COUNT(), COUNT() AS n FROM devices`)
	return fmt.Sprint(rows[0])
}

func probeColumnName(t *testing.T, h *hub) string {
	t.Helper()
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"line":7}}`)
	rows, _ := h.query(t, `SELECT deviceId, tags.line FROM devices WHERE IS_DEFINED(tags.line)`)
	return fmt.Sprint(rows[0])
}

// admits lists the policies, besides iothubowner, that may send a request.
func (h *hub) admits(t *testing.T, method, path, body string) string {
	t.Helper()
	NewWithT(t).Expect(h.statusOf(t, method, path, body)).To(BeNumerically("<", 300))
	var admitted []string
	for _, policy := range []string{"service", "device", "registryRead", "registryReadWrite"} {
		c := *h.client
		c.token = h.policyToken(t, policy)
		if c.call(t, method, path, body).status != http.StatusUnauthorized {
			admitted = append(admitted, policy)
		}
	}
	return strings.Join(admitted, " ")
}

func probeJobPermission(t *testing.T, h *hub) string {
	t.Helper()
	return fmt.Sprintf("read: %s, write: %s",
		h.admits(t, http.MethodGet, "/jobs/v2/query", ""),
		h.admits(t, http.MethodPut, "/jobs/v2/j1", fmt.Sprintf(updateJob, `,"startTime":"2026-11-20T12:00:00Z"`)))
}

func probeConfigurationPermission(t *testing.T, h *hub) string {
	t.Helper()
	return fmt.Sprintf("read: %s, write: %s",
		h.admits(t, http.MethodGet, "/configurations", ""),
		h.admits(t, http.MethodPut, "/configurations/c1", `{"content":{"deviceContent":{}}}`))
}

func probeServiceAtDeviceName(t *testing.T, h *hub) string {
	t.Helper()
	return fmt.Sprintf("%d, classic %d",
		h.byName(t, deviceName).call(t, http.MethodGet, "/twins/d1", "").status,
		h.byName(t, classicName).call(t, http.MethodGet, "/twins/d1", "").status)
}

func probeReplacedMetadata(t *testing.T, h *hub) string {
	t.Helper()
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":"text"}}}`)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"a":{"b":1}}}}`)
	found := "a"
	if h.metadata(t, "d1", "a").(object)["b"] != nil {
		found += ", a.b"
	}
	return found
}

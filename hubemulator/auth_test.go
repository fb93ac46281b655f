package hubemulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/service"
)

func TestPolicyPermissions(t *testing.T) {
	t.Parallel()
	const (
		read  = "registryRead"
		write = "registryReadWrite"
	)
	operations := []struct {
		method, path, body string
		allowed            []string
	}{
		{http.MethodGet, "/twins/d1", ``, []string{"iothubowner", "service"}},
		{http.MethodPatch, "/twins/d1", `{}`, []string{"iothubowner", "service"}},
		{http.MethodPut, "/twins/d1", `{}`, []string{"iothubowner", "service"}},
		{http.MethodPost, "/devices/query", `{"query":"SELECT * FROM devices"}`, []string{"iothubowner", "service"}},
		{http.MethodGet, "/twins/d1/modules/m1", ``, []string{"iothubowner", "service"}},
		{http.MethodPatch, "/twins/d1/modules/m1", `{}`, []string{"iothubowner", "service"}},
		{http.MethodPut, "/twins/d1/modules/m1", `{}`, []string{"iothubowner", "service"}},
		{http.MethodGet, "/digitaltwins/d1", ``, []string{"iothubowner", "service"}},
		{http.MethodPatch, "/digitaltwins/d1", `[]`, []string{"iothubowner", "service"}},
		{http.MethodGet, "/statistics/service", ``, []string{"iothubowner", "service"}},
		{http.MethodGet, "/statistics/devices", ``, []string{"iothubowner", read, write}},
		{http.MethodGet, "/devices/d1/modules", ``, []string{"iothubowner", read, write}},
		{http.MethodGet, "/devices/d1/modules/m1", ``, []string{"iothubowner", read, write}},
		{http.MethodPut, "/devices/d1/modules/m1", `{}`, []string{"iothubowner", write}},
		{http.MethodDelete, "/devices/d1/modules/m1", ``, []string{"iothubowner", write}},
		{http.MethodPost, "/devices", `[{"id":"d2","importMode":"create"}]`, []string{"iothubowner", write}},
		{http.MethodGet, "/devices/d1", ``, []string{"iothubowner", read, write}},
		{http.MethodGet, "/devices", ``, []string{"iothubowner", read, write}},
		{http.MethodPost, "/configurations/testQueries", `{}`, []string{"iothubowner"}},
		{http.MethodGet, "/configurations", ``, []string{"iothubowner"}},
		{http.MethodGet, "/configurations/c1", ``, []string{"iothubowner"}},
		{http.MethodPut, "/configurations/c1", `{"content":{"deviceContent":{}}}`, []string{"iothubowner"}},
		{http.MethodDelete, "/configurations/c1", ``, []string{"iothubowner"}},
		{http.MethodPost, "/devices/e1/applyConfigurationContent", `{"modulesContent":{"$edgeAgent":{}}}`, []string{"iothubowner"}},
		{http.MethodPut, "/devices/d1", `{}`, []string{"iothubowner", write}},
		{http.MethodPost, "/devices/keys/regenerate", `{"policyKey":"primaryKey","devices":[]}`, []string{"iothubowner", write}},
		{http.MethodPost, "/twins/absent/methods", `{"methodName":"x"}`, []string{"iothubowner", "service"}},
		{http.MethodPost, "/twins/absent/modules/m1/methods", `{"methodName":"x"}`, []string{"iothubowner", "service"}},
		{http.MethodPost, "/digitaltwins/absent/commands/x", ``, []string{"iothubowner", "service"}},
		{http.MethodPost, "/digitaltwins/absent/components/x/commands/x", ``, []string{"iothubowner", "service"}},
		{http.MethodDelete, "/devices/d1/commands", ``, []string{"iothubowner", "service"}},
		{http.MethodPost, "/devices/d1/messages/events", `x`, []string{"iothubowner", "device"}},
		{http.MethodGet, "/devices/d1/messages/deviceBound", ``, []string{"iothubowner", "device"}},
		{http.MethodDelete, "/devices/d1/messages/deviceBound/absent", ``, []string{"iothubowner", "device"}},
		{http.MethodPost, "/devices/d1/messages/deviceBound/absent/abandon", ``, []string{"iothubowner", "device"}},
		{http.MethodGet, "/jobs", ``, []string{"iothubowner", read, write}},
		{http.MethodGet, "/jobs/v2/query", ``, []string{"iothubowner", read, write}},
		{http.MethodGet, "/jobs/v2/j1", ``, []string{"iothubowner", read, write}},
		{http.MethodPut, "/jobs/v2/j1", fmt.Sprintf(updateJob, `,"startTime":"2026-11-20T12:00:00Z"`), []string{"iothubowner", write}},
		{http.MethodPost, "/jobs/v2/j1/cancel", ``, []string{"iothubowner", write}},
		{http.MethodPost, "/devices/query", `{"query":"SELECT * FROM devices.jobs"}`, []string{"iothubowner", "service"}},
		{http.MethodDelete, "/devices/d1", ``, []string{"iothubowner", write}},
	}
	for _, policy := range []string{"iothubowner", "service", "device", read, write} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, "d1")
			if _, err := h.server.AddModule("d1", "m1"); err != nil {
				t.Fatal(err)
			}
			h.ok(t, http.MethodPut, "/devices/e1", `{`+edgeBody+`}`)
			h.ok(t, http.MethodPut, "/configurations/c1", `{"content":{"deviceContent":{}}}`)
			h.token = h.policyToken(t, policy)
			for _, operation := range operations {
				g := NewWithT(t)
				answer := h.call(t, operation.method, operation.path, operation.body, "If-Match", "*")
				allowed := false
				for _, name := range operation.allowed {
					allowed = allowed || name == policy
				}
				wanted := BeNumerically("<", 300)
				if strings.Contains(operation.path, "/absent") {
					wanted = BeElementOf(http.StatusNotFound, http.StatusPreconditionFailed)
				}
				if allowed {
					g.Expect(answer.status).To(wanted, "%s %s", operation.method, operation.path)
					continue
				}
				expectError(t, answer, http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
			}
			expectCalledAll(t, h)
		})
	}
}

// expectCalledAll fails for operations of the service API that a table of all of
// them has no row for.
func expectCalledAll(t *testing.T, h *hub) {
	t.Helper()
	called := h.server.Counters().Operations
	for _, operation := range service.Operations() {
		if _, found := called[operation.Name]; !found {
			t.Errorf("the operation %s needs a row", operation.Name)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1", "d2")
	host := h.server.HostName()
	owner, deviceKey := h.policyKey(t, "iothubowner"), keyOf(t, must(h.server.DeviceConnectionString("d1")))
	in := func(d time.Duration) time.Time { return h.clock.Now().Add(d) }
	good := sign(url.QueryEscape(host), owner, "iothubowner", in(time.Hour))
	for _, tt := range []struct {
		name, token string
		accepted    bool
	}{
		{"as Go signs", good, true},
		{"lower-case escapes", sign(strings.ToLower(url.QueryEscape(host)), owner, "iothubowner", in(time.Hour)), true},
		{"upper-case host", sign(url.QueryEscape(strings.ToUpper(host)), owner, "iothubowner", in(time.Hour)), true},
		{"unescaped", sign(host, owner, "iothubowner", in(time.Hour)), true},
		{"without port", sign("localhost", owner, "iothubowner", in(time.Hour)), true},
		{"by address", sign("127.0.0.1", owner, "iothubowner", in(time.Hour)), true},
		{"for all twins", sign(url.QueryEscape(host+"/twins"), owner, "iothubowner", in(time.Hour)), true},
		{"for this twin", sign(url.QueryEscape(host+"/twins/d1"), owner, "iothubowner", in(time.Hour)), true},
		{"trailing slash", sign(url.QueryEscape(host+"/"), owner, "iothubowner", in(time.Hour)), true},
		{"fields in another order", reorder(good), true},
		{"a second before it expires", sign("localhost", owner, "iothubowner", in(time.Second)), true},

		{"expired just now", sign("localhost", owner, "iothubowner", in(0)), false},
		{"for another twin", sign(url.QueryEscape(host+"/twins/d2"), owner, "iothubowner", in(time.Hour)), false},
		{"for half a segment", sign(url.QueryEscape(host+"/twins/d"), owner, "iothubowner", in(time.Hour)), false},
		{"for what lies below", sign(url.QueryEscape(host+"/twins/d1/modules"), owner, "iothubowner", in(time.Hour)), false},
		{"for another hub", sign("other.azure-devices.net", owner, "iothubowner", in(time.Hour)), false},
		{"for a hub of a longer name", sign("localhost.example", owner, "iothubowner", in(time.Hour)), false},
		{"with another policy's key", sign("localhost", h.policyKey(t, "service"), "iothubowner", in(time.Hour)), false},
		{"of an unknown policy", sign("localhost", owner, "absent", in(time.Hour)), false},
		{"of a device", sign(url.QueryEscape(host+"/devices/d1"), deviceKey, "", in(time.Hour)), false},
		{"changed afterwards", strings.Replace(good, "se=", "se=1", 1), false},
		{"without signature", "SharedAccessSignature sr=localhost&se=99999999999&skn=iothubowner", false},
		{"an expiry that is no number", "SharedAccessSignature sr=localhost&sig=AAAA&se=soon&skn=iothubowner", false},
		{"a bearer token", "Bearer eyJhbGciOiJub25lIn0.e30.", false},
		{"none", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := *h.client
			c.token = tt.token
			answer := c.call(t, http.MethodGet, "/twins/d1", "")
			if tt.accepted {
				NewWithT(t).Expect(answer.status).To(Equal(http.StatusOK), answer.text)
				return
			}
			expectError(t, answer, http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
		})
	}
}

func TestTokenExpiresWithTheClock(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1")
	h.ok(t, http.MethodGet, "/twins/d1", "")
	h.clock.Step(time.Hour)
	g.Expect(h.call(t, http.MethodGet, "/twins/d1", "").status).To(Equal(http.StatusUnauthorized))
}

func reorder(token string) string {
	scheme, fields, _ := strings.Cut(token, " ")
	parts := strings.Split(fields, "&")
	return scheme + " " + strings.Join([]string{parts[3], parts[2], parts[1], parts[0]}, "&")
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err) // the test's own set-up
	}
	return value
}

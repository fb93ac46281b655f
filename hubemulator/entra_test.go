package hubemulator_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// bearer returns a client with a token of the hub's own issuer.
func (h *hub) bearer(t *testing.T, token issuer.Token) *client {
	t.Helper()
	text, err := h.server.Issuer().Mint(token)
	if err != nil {
		t.Fatal(err)
	}
	c := *h.client
	c.token = "Bearer " + text
	return &c
}

func expectUnauthorized(t *testing.T, answer response) {
	t.Helper()
	expectError(t, answer, http.StatusUnauthorized, "IotHubUnauthorizedAccess", "Unauthorized")
}

func TestEntraRoles(t *testing.T) {
	t.Parallel()
	const (
		all       = "IoT Hub Data Contributor"
		reader    = "IoT Hub Data Reader"
		registry  = "IoT Hub Registry Contributor"
		twins     = "IoT Hub Twin Contributor"
		prefix    = "Microsoft.Devices/IotHubs/"
		write     = prefix + "devices/write"
		deletion  = prefix + "devices/delete"
		invoke    = prefix + "directMethods/invoke/action"
		purge     = prefix + "cloudToDeviceMessages/queue/purge/action"
		statistic = prefix + "statistics/read"
		jobs      = prefix + "jobs/write"

		configurations = prefix + "configurations/write"
		tests          = prefix + "configurations/testQueries/action"
	)
	operations := []struct {
		method, path, body string
		allowed            []string
	}{
		{http.MethodGet, "/twins/d1", ``, []string{all, reader, twins}},
		{http.MethodPatch, "/twins/d1", `{}`, []string{all, twins}},
		{http.MethodPut, "/twins/d1", `{}`, []string{all, twins}},
		{http.MethodPost, "/devices/query", `{"query":"SELECT * FROM devices"}`, []string{all, reader, twins}},
		{http.MethodGet, "/twins/d1/modules/m1", ``, []string{all, reader, twins}},
		{http.MethodPatch, "/twins/d1/modules/m1", `{}`, []string{all, twins}},
		{http.MethodPut, "/twins/d1/modules/m1", `{}`, []string{all, twins}},
		{http.MethodPost, "/twins/d1/methods", `{"methodName":"x"}`, []string{all, invoke}},
		{http.MethodPost, "/twins/d1/modules/m1/methods", `{"methodName":"x"}`, []string{all, invoke}},
		{http.MethodGet, "/digitaltwins/d1", ``, []string{all, reader, twins}},
		{http.MethodPatch, "/digitaltwins/d1", `[]`, []string{all, twins}},
		{http.MethodPost, "/digitaltwins/d1/commands/x", ``, nil},
		{http.MethodPost, "/digitaltwins/d1/components/x/commands/x", ``, nil},
		{http.MethodDelete, "/devices/d1/commands", ``, []string{all, purge}},
		{http.MethodGet, "/statistics/service", ``, []string{all, reader, statistic}},
		{http.MethodGet, "/statistics/devices", ``, []string{all, reader, statistic}},
		{http.MethodGet, "/devices/d1/modules", ``, []string{all, reader, registry}},
		{http.MethodGet, "/devices/d1/modules/m1", ``, []string{all, reader, registry}},
		{http.MethodPut, "/devices/d1/modules/m1", `{}`, []string{all, registry, write}},
		{http.MethodDelete, "/devices/d1/modules/m1", ``, []string{all, registry, deletion}},
		{http.MethodPost, "/devices", `[{"id":"d2","importMode":"create"}]`, []string{all, registry}},
		{http.MethodGet, "/devices/d1", ``, []string{all, reader, registry}},
		{http.MethodGet, "/devices", ``, []string{all, reader, registry}},
		{http.MethodPut, "/devices/d1", `{}`, []string{all, registry, write}},
		{http.MethodPut, "/jobs/v2/j1", `{"type":"scheduleUpdateTwin","queryCondition":"deviceId = 'none'","updateTwin":{"etag":"*","tags":{"a":1}}}`, []string{all, jobs}},
		{http.MethodGet, "/jobs/v2/j1", ``, []string{all, reader}},
		{http.MethodGet, "/jobs/v2/query", ``, []string{all, reader}},
		{http.MethodGet, "/jobs", ``, []string{all, reader}},
		{http.MethodPost, "/jobs/v2/none/cancel", ``, []string{all}},
		{http.MethodPost, "/devices/keys/regenerate", `{"policyKey":"primaryKey","devices":[]}`, []string{all, registry, write}},
		{http.MethodPost, "/devices/d1/messages/events", `x`, nil},
		{http.MethodGet, "/devices/d1/messages/deviceBound", ``, nil},
		{http.MethodDelete, "/devices/d1/messages/deviceBound/x", ``, nil},
		{http.MethodPost, "/devices/d1/messages/deviceBound/x/abandon", ``, nil},
		{http.MethodGet, "/configurations/none", ``, []string{all, reader}},
		{http.MethodDelete, "/configurations/none", ``, []string{all}},
		{http.MethodPost, "/devices/none/applyConfigurationContent", `{"modulesContent":{"$edgeAgent":{}}}`, []string{all}},
		{http.MethodGet, "/configurations", ``, []string{all, reader}},
		{http.MethodPut, "/configurations/none", `{"id":"none","content":{"deviceContent":{"properties.desired.a":1}},"targetCondition":"","priority":1}`, []string{all, configurations}},
		{http.MethodPost, "/configurations/testQueries", `{"targetCondition":"tags.a = 1"}`, []string{all, tests}},
		{http.MethodDelete, "/devices/d1", ``, []string{all, registry, deletion}},
	}
	for _, role := range []string{all, reader, registry, twins, write, deletion, invoke, purge, statistic, jobs, configurations, tests, "Owner", "Contributor", "Reader"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			h := startHubWith(t, hubemulator.Options{
				Devices: []string{"d1"}, Issuer: &issuer.Options{}, EntraRoles: map[string][]string{"principal-1": {role}},
			})
			if _, err := h.server.AddModule("d1", "m1"); err != nil {
				t.Fatal(err)
			}
			c := h.bearer(t, issuer.Token{ObjectID: "principal-1"})
			for _, operation := range operations {
				answer := c.call(t, operation.method, operation.path, operation.body, "If-Match", "*")
				if !slices.Contains(operation.allowed, role) {
					expectUnauthorized(t, answer)
					continue
				}
				wanted := BeNumerically("<", 300)
				if strings.HasSuffix(operation.path, "/methods") || strings.Contains(operation.path, "/none") {
					wanted = Equal(http.StatusNotFound) // no device is connected, and there is none to update
				}
				NewWithT(t).Expect(answer.status).To(wanted, "%s %s: %s", operation.method, operation.path, answer.text)
			}
			expectCalledAll(t, h)
		})
	}
}

func TestBulkTakesTwoDataActions(t *testing.T) {
	t.Parallel()
	h := startHubWith(t, hubemulator.Options{Issuer: &issuer.Options{}, EntraRoles: map[string][]string{
		"both": {"Microsoft.Devices/IotHubs/devices/write", "Microsoft.Devices/IotHubs/devices/delete"},
	}})
	c := h.bearer(t, issuer.Token{ObjectID: "both"})
	c.ok(t, http.MethodPost, "/devices", `[{"id":"d1","importMode":"create"}]`)
	expectUnauthorized(t, c.call(t, http.MethodGet, "/devices/d1", ""))
}

func TestEntraPrincipals(t *testing.T) {
	t.Parallel()
	const twins = "IoT Hub Twin Contributor"
	h := startHubWith(t, hubemulator.Options{Devices: []string{"d1"}, Issuer: &issuer.Options{}, EntraRoles: map[string][]string{
		"B0000000-0000-4000-8000-00000000000a": {twins}, "app-1": {twins},
	}})
	for name, tt := range map[string]struct {
		token    issuer.Token
		accepted bool
	}{
		"by the object id, whatever its case": {issuer.Token{ObjectID: "b0000000-0000-4000-8000-00000000000A", ClientID: "app-2"}, true},
		"by the application id":               {issuer.Token{ObjectID: "o2", ClientID: "app-1"}, true},
		"by that of a token of version 2":     {issuer.Token{ObjectID: "o2", Claims: map[string]any{"azp": "app-1"}}, true},
		"without a role":                      {issuer.Token{ObjectID: "o2", ClientID: "app-2"}, false},
		"a role in the token":                 {issuer.Token{ObjectID: "o2", Claims: map[string]any{"roles": []string{twins}}}, false},
		"an application for a user":           {issuer.Token{ObjectID: "o2", ClientID: "app-1", Claims: map[string]any{"scp": "user_impersonation"}}, false},
		"absent":                              {issuer.Token{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answer := h.bearer(t, tt.token).call(t, http.MethodGet, "/twins/d1", "")
			if !tt.accepted {
				expectUnauthorized(t, answer)
				return
			}
			NewWithT(t).Expect(answer.status).To(Equal(http.StatusOK), answer.text)
		})
	}
}

func TestEntraRolesChange(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{Devices: []string{"d1"}, Issuer: &issuer.Options{}})
	c := h.bearer(t, issuer.Token{ObjectID: "p1"})
	expectUnauthorized(t, c.call(t, http.MethodGet, "/twins/d1", ""))
	g.Expect(h.server.SetEntraRoles(map[string][]string{"p1": {"IoT Hub Data Reader"}})).To(Succeed())
	c.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(h.server.SetEntraRoles(map[string][]string{"p1": {"nonsense"}})).To(MatchError(ContainSubstring("should be a built-in role")))
	c.ok(t, http.MethodGet, "/twins/d1", "")
	g.Expect(h.server.SetEntraRoles(nil)).To(Succeed())
	expectUnauthorized(t, c.call(t, http.MethodGet, "/twins/d1", ""))
	g.Expect(startHub(t).server.SetEntraRoles(nil)).To(MatchError(ContainSubstring("should come with an issuer")))
}

func TestEntraTokenExpiresWithTheClock(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{
		Devices: []string{"d1"}, Issuer: &issuer.Options{}, EntraRoles: map[string][]string{"p1": {"IoT Hub Data Reader"}},
	})
	now := h.bearer(t, issuer.Token{ObjectID: "p1"})
	later := h.bearer(t, issuer.Token{ObjectID: "p1", NotBefore: h.clock.Now().Add(time.Hour), ExpiresAt: h.clock.Now().Add(2 * time.Hour)})
	g.Expect(now.call(t, http.MethodGet, "/twins/d1", "").status).To(Equal(http.StatusOK))
	expectUnauthorized(t, later.call(t, http.MethodGet, "/twins/d1", ""))
	h.clock.Step(time.Hour)
	expectUnauthorized(t, now.call(t, http.MethodGet, "/twins/d1", ""))
	g.Expect(later.call(t, http.MethodGet, "/twins/d1", "").status).To(Equal(http.StatusOK))
}

func TestSignaturesBesideEntra(t *testing.T) {
	t.Parallel()
	h := startHubWith(t, hubemulator.Options{Devices: []string{"d1"}, Issuer: &issuer.Options{}})
	h.ok(t, http.MethodGet, "/twins/d1", "")
	h.connect(t, "d1", "TCP")
}

func TestDevicesCannotUseEntra(t *testing.T) {
	t.Parallel()
	h := startHubWith(t, hubemulator.Options{
		Devices: []string{"d1"}, Issuer: &issuer.Options{}, EntraRoles: map[string][]string{"p1": {"IoT Hub Data Contributor"}},
	})
	bearer := h.bearer(t, issuer.Token{ObjectID: "p1"})
	bearer.ok(t, http.MethodGet, "/twins/d1", "")
	for _, password := range []string{bearer.token, strings.TrimPrefix(bearer.token, "Bearer ")} {
		h.expectRefused(t, password)
	}
}

// expectRefused tries to connect the device d1 with a password.
func (h *hub) expectRefused(t *testing.T, password string) {
	t.Helper()
	for _, transport := range transports {
		opts := h.deviceOptions(t, "d1", transport)
		opts.SetPassword(password)
		connecting := mqtt.NewClient(opts).Connect()
		g := NewWithT(t)
		g.Expect(connecting.WaitTimeout(patience)).To(BeTrue(), transport)
		g.Expect(connecting.(*mqtt.ConnectToken).ReturnCode()).To(Equal(byte(5)), transport)
	}
}

func TestDisabledLocalAuth(t *testing.T) {
	t.Parallel()
	h := startHubWith(t, hubemulator.Options{
		Devices: []string{"d1"}, Issuer: &issuer.Options{}, DisableLocalAuth: true,
		EntraRoles: map[string][]string{"p1": {"IoT Hub Data Reader"}},
	})
	for _, policy := range []string{"iothubowner", "service", "device", "registryRead", "registryReadWrite"} {
		c := *h.client
		c.token = h.policyToken(t, policy)
		expectUnauthorized(t, c.call(t, http.MethodGet, "/twins/d1", ""))
		expectUnauthorized(t, c.call(t, http.MethodGet, "/devices/d1", ""))
		h.expectRefused(t, h.policyToken(t, policy))
	}
	c := h.bearer(t, issuer.Token{ObjectID: "p1"})
	h.connect(t, "d1", "TCP")
	NewWithT(t).Expect(c.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"]).To(Equal("Connected"))
}

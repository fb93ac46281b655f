package conformance_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// az plays the requests that the extension azure-iot of the Azure CLI sends, as
// it sends them.
type az struct {
	Gomega
	*testing.T
	hub    *hubemulator.Server
	client *http.Client
	token  string
}

type document = map[string]any

func startAz(t *testing.T, devices ...string) *az {
	t.Helper()
	g := NewWithT(t)
	hub, err := hubemulator.Start(t.Context(), hubemulator.Options{Hostname: "contoso.azure-devices.net", Devices: devices})
	g.Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	g.Expect(roots.AppendCertsFromPEM(hub.CACertificatePEM())).To(BeTrue())
	transport := &http.Transport{DialContext: hub.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		g.Expect(hub.Close()).To(Succeed())
	})
	return &az{Gomega: g, T: t, hub: hub, client: &http.Client{Transport: transport}, token: ownersToken(t, hub)}
}

// ownersToken is what az makes of the connection string of iothubowner.
func ownersToken(t *testing.T, hub *hubemulator.Server) string {
	t.Helper()
	text, err := hub.ServiceConnectionString("iothubowner")
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(text, ";SharedAccessKey=")
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	audience, expiry := url.QueryEscape("contoso.azure-devices.net"), strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(audience + "\n" + expiry))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%s&skn=iothubowner",
		audience, url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), expiry)
}

// do sends a request to the service name, which az uses where there is one.
func (a *az) do(method, path string, body any, headers ...string) (int, http.Header, []byte) {
	a.Helper()
	var text bytes.Buffer
	if body != nil {
		a.Expect(json.NewEncoder(&text).Encode(body)).To(Succeed())
	}
	path, parameters, _ := strings.Cut(path, "?")
	address := "https://contoso.service.azure-devices.net" + path + "?api-version=2021-04-12"
	if parameters != "" {
		address += "&" + parameters
	}
	request, err := http.NewRequestWithContext(a.Context(), method, address, &text)
	a.Expect(err).NotTo(HaveOccurred())
	headers = append(headers, "Authorization", a.token, "Accept", "application/json", "Accept-Language", "en-US",
		"Content-Type", "application/json; charset=utf-8", "X-Ms-Client-Request-Id", "8a1b5f54-0000-4000-8000-000000000000",
		"User-Agent", "IoTPlatformCliExtension/0.25.0 AZURECLI/2.70.0 (DEB)")
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := a.client.Do(request)
	a.Expect(err).NotTo(HaveOccurred())
	content, err := io.ReadAll(answer.Body)
	a.Expect(err).NotTo(HaveOccurred())
	a.Expect(answer.Body.Close()).To(Succeed())
	return answer.StatusCode, answer.Header, content
}

// ok is do for what has to succeed; it decodes the answer.
func (a *az) ok(method, path string, body any, headers ...string) any {
	a.Helper()
	status, _, content := a.do(method, path, body, headers...)
	a.Expect(status).To(Equal(http.StatusOK), "%s %s: %s", method, path, content)
	var decoded any
	a.Expect(json.Unmarshal(content, &decoded)).To(Succeed())
	return decoded
}

func (a *az) get(path string) document {
	a.Helper()
	return a.ok(http.MethodGet, path, nil).(document)
}

// list follows the pages of a query as az does, with its own idea of a page.
func (a *az) list(method, path string, body any) []any {
	a.Helper()
	var rows []any
	headers := []string{"x-ms-max-item-count", "1000"}
	for {
		status, header, content := a.do(method, path, body, headers...)
		a.Expect(status).To(Equal(http.StatusOK), string(content))
		var page []any
		a.Expect(json.Unmarshal(content, &page)).To(Succeed())
		rows = append(rows, page...)
		next := header.Get("x-ms-continuation")
		if next == "" {
			return rows
		}
		headers = []string{"x-ms-max-item-count", "1000", "x-ms-continuation", next}
	}
}

// device is an identity as az assembles a new one.
func newIdentity(id string, edge bool) document {
	return document{
		"deviceId": id, "status": "enabled", "capabilities": document{"iotEdge": edge},
		"authentication": document{"type": "sas", "symmetricKey": document{"primaryKey": nil, "secondaryKey": nil}},
	}
}

// update is what az does for every change of an identity: all of what it read
// goes back, with the etag in quotes.
func (a *az) update(identity document) document {
	a.Helper()
	path := "/devices/" + identity["deviceId"].(string)
	return a.ok(http.MethodPut, path, identity, "If-Match", `"`+identity["etag"].(string)+`"`).(document)
}

func TestRequestsOfAz(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]func(*az){
		"device-identity list":                      (*az).deviceIdentityList,
		"device-identity create":                    (*az).deviceIdentityCreate,
		"device-identity update":                    (*az).deviceIdentityUpdate,
		"device-identity renew-key":                 (*az).deviceIdentityRenewKey,
		"device-identity parent set, children list": (*az).parentsAndChildren,
		"device-twin list":                          (*az).deviceTwinList,
		"device-twin update":                        (*az).deviceTwinUpdate,
		"device-twin replace":                       (*az).deviceTwinReplace,
		"configuration create":                      (*az).configurationCreate,
		"job list":                                  (*az).jobList,
		"invoke-device-method":                      (*az).invokeDeviceMethod,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request(startAz(t, "d1", "d2"))
		})
	}
}

func (a *az) deviceIdentityList() {
	for i := range 130 {
		_, err := a.hub.AddDevice(fmt.Sprintf("more-%03d", i))
		a.Expect(err).NotTo(HaveOccurred())
	}
	a.Expect(a.list(http.MethodPost, "/devices/query", document{"query": "select * from devices"})).To(HaveLen(132))
	edges := a.list(http.MethodPost, "/devices/query", document{"query": "select * from devices where capabilities.iotEdge = true"})
	a.Expect(edges).To(BeEmpty())
}

func (a *az) deviceIdentityCreate() {
	created := a.ok(http.MethodPut, "/devices/new", newIdentity("new", false)).(document)
	keys := created["authentication"].(document)["symmetricKey"].(document)
	a.Expect(keys["primaryKey"]).NotTo(BeEmpty())
	edge := a.ok(http.MethodPut, "/devices/edge", newIdentity("edge", true)).(document)
	a.Expect(edge["deviceScope"]).To(HavePrefix("ms-azure-iot-edge://edge-"))

	thumbprinted := newIdentity("x509", false)
	thumbprinted["authentication"] = document{"type": "selfSigned", "x509Thumbprint": document{
		"primaryThumbprint": strings.Repeat("0A", 20), "secondaryThumbprint": nil,
	}}
	a.Expect(a.ok(http.MethodPut, "/devices/x509", thumbprinted)).To(HaveKeyWithValue("deviceId", "x509"))
}

func (a *az) deviceIdentityUpdate() {
	identity := a.get("/devices/d1")
	keys := identity["authentication"]
	identity["status"], identity["statusReason"] = "disabled", "in repair"
	updated := a.update(identity)
	a.Expect(updated["status"]).To(Equal("disabled"))
	a.Expect(updated["authentication"]).To(Equal(keys))
	status, _, _ := a.do(http.MethodPut, "/devices/d1", identity, "If-Match", `"`+identity["etag"].(string)+`"`)
	a.Expect(status).To(Equal(http.StatusPreconditionFailed))
	a.ok(http.MethodPut, "/devices/d1", identity, "If-Match", `"*"`)
}

func (a *az) deviceIdentityRenewKey() {
	keysOf := func() document {
		return a.get("/devices/d1")["authentication"].(document)["symmetricKey"].(document)
	}
	before := keysOf()
	result := a.ok(http.MethodPost, "/devices/keys/regenerate", document{
		"policyKey": "primaryKey", "devices": []document{{"id": "d1"}, {"id": "absent"}},
	}).(document)
	a.Expect(result["rotatedKeys"]).To(HaveLen(1))
	a.Expect(result["errors"]).To(HaveLen(1))
	after := keysOf()
	a.Expect(after["primaryKey"]).NotTo(Equal(before["primaryKey"]))
	a.Expect(after["secondaryKey"]).To(Equal(before["secondaryKey"]))

	// swap is an update of the identity
	identity := a.get("/devices/d1")
	keys := identity["authentication"].(document)["symmetricKey"].(document)
	keys["primaryKey"], keys["secondaryKey"] = keys["secondaryKey"], keys["primaryKey"]
	a.update(identity)
	a.Expect(keysOf()).To(Equal(document{"primaryKey": after["secondaryKey"], "secondaryKey": after["primaryKey"]}))
}

func (a *az) parentsAndChildren() {
	scopes := map[string]any{}
	for _, id := range []string{"edge1", "edge2", "nested"} {
		scopes[id] = a.ok(http.MethodPut, "/devices/"+id, newIdentity(id, true)).(document)["deviceScope"]
	}
	children := func(of string) []any {
		rows := a.ok(http.MethodPost, "/devices/query", document{
			"query": fmt.Sprintf("select deviceId from devices where array_contains(parentScopes, '%s')", scopes[of]),
		}).([]any)
		ids := []any{}
		for _, row := range rows {
			ids = append(ids, row.(document)["deviceId"])
		}
		return ids
	}
	for _, parent := range []string{"edge1", "edge2", ""} { // set, set with force, and children remove
		leaf := a.get("/devices/d1")
		leaf["deviceScope"] = ""
		if parent != "" {
			leaf["deviceScope"] = scopes[parent]
		}
		a.update(leaf)
		nested := a.get("/devices/nested")
		nested["parentScopes"] = []any{}
		if parent != "" {
			nested["parentScopes"] = []any{scopes[parent]}
		}
		a.update(nested)
		for _, edge := range []string{"edge1", "edge2"} {
			if edge == parent {
				a.Expect(children(edge)).To(Equal([]any{"d1", "nested"}))
			} else {
				a.Expect(children(edge)).To(BeEmpty(), edge)
			}
		}
	}
}

func (a *az) deviceTwinList() {
	twins := a.list(http.MethodPost, "/devices/query", document{"query": "SELECT * FROM devices"})
	a.Expect(twins).To(HaveLen(2))
	a.Expect(twins[0]).To(And(HaveKey("properties"), HaveKey("deviceEtag"), HaveKey("capabilities")))
}

func (a *az) deviceTwinUpdate() {
	twin := a.ok(http.MethodPatch, "/twins/d1", document{
		"properties": document{"desired": document{"conditions": document{"temperature": document{"warning": 70, "critical": 100}}}},
		"tags":       document{"country": "USA"},
	}, "If-Match", `"*"`).(document)
	a.Expect(twin["tags"]).To(Equal(document{"country": "USA"}))
	twin = a.ok(http.MethodPatch, "/twins/d1", document{"properties": document{"desired": nil}}, "If-Match", `"`+twin["etag"].(string)+`"`).(document)
	a.Expect(twin["properties"].(document)["desired"]).NotTo(HaveKey("conditions"))
}

func (a *az) deviceTwinReplace() {
	a.ok(http.MethodPatch, "/twins/d1", document{"tags": document{"old": 1}, "properties": document{"desired": document{"old": 1}}})
	whole := a.get("/twins/d1")
	changed := maps.Clone(whole)
	changed["tags"] = document{"new": 1.0}
	replaced := a.ok(http.MethodPut, "/twins/d1", changed, "If-Match", `"`+whole["etag"].(string)+`"`).(document)
	a.Expect(replaced["tags"]).To(Equal(document{"new": 1.0}))
	a.Expect(replaced["properties"].(document)["desired"]).To(HaveKeyWithValue("old", 1.0))
	status, _, _ := a.do(http.MethodPut, "/twins/d1", changed, "If-Match", `"`+whole["etag"].(string)+`"`)
	a.Expect(status).To(Equal(http.StatusPreconditionFailed))
}

func (a *az) configurationCreate() {
	wanted := document{
		"id": "c1", "schemaVersion": "2.0", "labels": document{"key0": "value0"}, "etag": "*", "priority": 9,
		"content":         document{"deviceContent": document{"properties.desired.chillerWaterSettings": document{"temperature": 38, "pressure": 78}}},
		"targetCondition": "tags.building=9 and tags.environment='test'",
		"metrics": document{"results": document{}, "queries": document{
			"mymetric": "select deviceId from devices where tags.location='US'", "all": "select *",
		}},
	}
	created := a.ok(http.MethodPut, "/configurations/c1", wanted).(document)
	a.Expect(created["content"]).To(HaveKey("deviceContent"))
	a.Expect(created["metrics"].(document)["queries"]).To(HaveLen(2))
	a.Expect(a.ok(http.MethodGet, "/configurations?top=100", nil)).To(HaveLen(1))
}

func (a *az) jobList() {
	for i := range 3 {
		id := fmt.Sprintf("job-%d", i)
		a.ok(http.MethodPut, "/jobs/v2/"+id, document{
			"jobId": id, "type": "scheduleUpdateTwin", "queryCondition": "deviceId = 'd1'", "maxExecutionTimeInSeconds": 3600,
			"startTime":  time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05.000000Z"),
			"updateTwin": document{"etag": "*", "tags": document{"a": i}},
		})
	}
	a.Expect(a.list(http.MethodGet, "/jobs/v2/query?jobType=scheduleUpdateTwin", nil)).To(HaveLen(3))
	a.Expect(a.list(http.MethodGet, "/jobs/v2/query", nil)).To(HaveLen(3))
	a.Expect(a.ok(http.MethodGet, "/jobs", nil)).To(BeEmpty())
}

func (a *az) invokeDeviceMethod() {
	call := document{"methodName": "reboot", "responseTimeoutInSeconds": 30, "connectTimeoutInSeconds": 0, "payload": document{"in": 1}}
	status, _, content := a.do(http.MethodPost, "/twins/d1/methods", call)
	a.Expect(status).To(Equal(http.StatusNotFound), "the device is not there")
	a.Expect(string(content)).To(ContainSubstring(`\"errorCode\":404103`))
	call["connectTimeoutInSeconds"] = 31
	status, _, content = a.do(http.MethodPost, "/twins/d1/methods", call)
	a.Expect(status).To(Equal(http.StatusBadRequest))
	a.Expect(string(content)).To(ContainSubstring(`\"errorCode\":400004`))
}

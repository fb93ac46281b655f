package hubemulator_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// restart stops a hub and starts it again, with the options that it had but
// for those that change alters.
func (h *hub) restart(t *testing.T, dir string, change func(*hubemulator.Options)) *hub {
	t.Helper()
	if err := h.server.Close(); err != nil {
		t.Fatal(err)
	}
	opts := hubemulator.Options{DataDir: dir}
	if change != nil {
		change(&opts)
	}
	return startHubWith(t, opts)
}

// everything is all that the service API tells about these ids, which are
// written {device} or {device}/modules/{module}.
func (h *hub) everything(t *testing.T, ids ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, id := range ids {
		for _, path := range []string{"/twins/" + id, "/devices/" + id} {
			answer := h.call(t, http.MethodGet, path, "")
			NewWithT(t).Expect(answer.status).To(Equal(http.StatusOK), path)
			all[path] = answer.text
		}
	}
	return all
}

// populate makes one of everything that is kept.
func (h *hub) populate(t *testing.T) (ids []string) {
	t.Helper()
	const thumbprint = "0123456789012345678901234567890123456789"
	for path, body := range map[string]string{
		"/devices/own-keys":    `{"authentication":{"symmetricKey":{"primaryKey":"` + key1 + `","secondaryKey":"` + key2 + `"}}}`,
		"/devices/disabled":    `{"status":"disabled","statusReason":"in repair"}`,
		"/devices/self-signed": `{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"` + thumbprint + `"}}}`,
		"/devices/authority":   `{"authentication":{"type":"certificateAuthority"}}`,
		"/devices/edge":        `{"capabilities":{"iotEdge":true}}`,
		"/devices/gone":        `{}`,
	} {
		h.ok(t, http.MethodPut, path, body)
	}
	scope := h.ok(t, http.MethodGet, "/devices/edge", "")["deviceScope"].(string)
	h.ok(t, http.MethodPut, "/devices/leaf", `{"deviceScope":"`+scope+`"}`)
	h.ok(t, http.MethodPut, "/devices/edge/modules/m1", `{"managedBy":"me"}`)
	NewWithT(t).Expect(h.call(t, http.MethodDelete, "/devices/gone", "", "If-Match", "*").status).To(Equal(http.StatusNoContent))
	h.clock.Step(1234567 * time.Microsecond)
	h.ok(t, http.MethodPatch, "/twins/own-keys", `{"tags":{"a":{"b":[1.50,"<é>"]}},"properties":{"desired":{"x":{"y":1},"z":{}}}}`)
	h.clock.Step(time.Second)
	h.ok(t, http.MethodPatch, "/twins/own-keys", `{"properties":{"desired":{"x":{"y":null,"w":true}}}}`)
	h.ok(t, http.MethodPatch, "/twins/edge/modules/m1", `{"properties":{"desired":{"x":1}}}`)
	must(h.server.Report("leaf", []byte(`{"connectivity":{"type":"cellular"}}`)))
	h.ok(t, http.MethodPut, "/devices/own-keys", `{"authentication":{"symmetricKey":{"primaryKey":"`+key2+`","secondaryKey":"`+key1+`"}}}`, "If-Match", "*")
	return []string{"own-keys", "disabled", "self-signed", "authority", "edge", "leaf", "edge/modules/m1", "edge/modules/$edgeAgent"}
}

func TestRestartedHubIsTheSame(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir})
	ids := h.populate(t)
	before, authority := h.everything(t, ids...), h.server.CACertificatePEM()
	policies := map[string]string{}
	for _, policy := range []string{"iothubowner", "service", "device", "registryRead", "registryReadWrite"} {
		policies[policy] = h.policyKey(t, policy)
	}

	again := h.restart(t, dir, nil)
	g.Expect(again.everything(t, ids...)).To(Equal(before))
	g.Expect(again.server.CACertificatePEM()).To(Equal(authority))
	for policy, key := range policies {
		g.Expect(again.policyKey(t, policy)).To(Equal(key), policy)
	}
	g.Expect(again.call(t, http.MethodGet, "/devices/gone", "").status).To(Equal(http.StatusNotFound))

	// It goes on where it was.
	patched := again.ok(t, http.MethodPatch, "/twins/own-keys", `{"properties":{"desired":{"more":1}}}`)
	expectCounters(t, patched, "AAAAAAAAAAQ=", "5", "4")
	edge := again.ok(t, http.MethodGet, "/devices/edge", "")
	again.ok(t, http.MethodPut, "/devices/edge", encode(t, edge), "If-Match", `"`+edge["etag"].(string)+`"`)
	third := again.restart(t, dir, nil)
	g.Expect(third.ok(t, http.MethodGet, "/twins/own-keys", "")["properties"]).To(Equal(patched["properties"]))
}

func TestRestartKeepsTheIssuer(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	roles := map[string][]string{"p1": {"IoT Hub Data Reader"}}
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1"}, Issuer: &issuer.Options{}, EntraRoles: roles})
	bearer, authority, address := h.bearer(t, issuer.Token{ObjectID: "p1"}), h.server.Issuer().CACertificatePEM(), h.server.Issuer().Address()
	bearer.ok(t, http.MethodGet, "/twins/d1", "")

	h = h.restart(t, dir, nil)
	g.Expect(h.server.Issuer()).To(BeNil())
	must(h.server.AddDevice("d2")) // so that it saves
	h = h.restart(t, dir, func(o *hubemulator.Options) { o.Issuer, o.EntraRoles = &issuer.Options{Address: address}, roles })
	g.Expect(h.server.Issuer().CACertificatePEM()).To(Equal(authority))
	again := *h.client
	again.token = bearer.token
	again.ok(t, http.MethodGet, "/twins/d1", "")

	g.Expect(h.server.Close()).To(Succeed())
	file := filepath.Join(dir, "state.jsonl")
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(os.WriteFile(file, bytes.Replace(text, []byte(`"signingKey":"-----BEGIN`), []byte(`"signingKey":"`), 1), 0o600)).To(Succeed())
	_, err = hubemulator.Start(t.Context(), hubemulator.Options{DataDir: dir})
	g.Expect(err).To(MatchError(ContainSubstring("is damaged: line 3: issuer: the signing key should be PKCS #8 in PEM")))
}

func TestRestartKeepsTheServersCertificate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir})
	authority, certificate := h.server.CACertificatePEM(), h.serverCertificate(t)
	h = h.restart(t, dir, nil)
	g.Expect(h.serverCertificate(t)).To(Equal(certificate))
	h = h.restart(t, dir, func(o *hubemulator.Options) { o.Hostname = "hub.example" })
	g.Expect(h.server.CACertificatePEM()).To(Equal(authority))
	g.Expect(h.serverCertificate(t)).NotTo(Equal(certificate), "the hub has another name now")
	certificate = h.serverCertificate(t)
	h = h.restart(t, dir, nil)
	g.Expect(h.serverCertificate(t)).To(Equal(certificate), "what the hub was called once does not matter")
}

// serverCertificate is what the server proves itself with, in DER.
func (h *hub) serverCertificate(t *testing.T) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.base+"/", nil)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	answer, err := h.http.Do(request)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer func() { _ = answer.Body.Close() }()
	return answer.TLS.PeerCertificates[0].Raw
}

func TestRestartKeepsQueuesAndSubscriptions(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1"}})
	count := h.pendingCommands(t)
	d := h.persistent(t, "TCP")
	d.subscribe("devices/d1/messages/devicebound/#")
	d.Disconnect(0)
	g.Eventually(func() any { return h.ok(t, http.MethodGet, "/twins/d1", "")["connectionState"] }, patience).Should(Equal("Disconnected"))
	for _, body := range []string{"1", "2"} {
		g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{
			MessageID: "m" + body, Body: []byte(body), Properties: map[string]string{"p": "é"}, Expiry: startOfTime.Add(time.Hour),
		})).To(Succeed())
	}
	g.Expect(h.server.SendToDevice("d1", hubemulator.DeviceMessage{Body: []byte("late"), Expiry: startOfTime.Add(time.Minute)})).To(Succeed())
	g.Expect(count()).To(Equal(pending(3)))

	h = h.restart(t, dir, nil)
	g.Expect(h.pendingCommands(t)()).To(Equal(pending(3)))
	h.clock.Step(time.Minute)
	d = h.persistent(t, "TCP") // without another SUBSCRIBE
	first := d.receive()
	g.Expect(string(first.Payload())).To(Equal("1"))
	g.Expect(first.Topic()).To(And(ContainSubstring("%24.mid=m1"), ContainSubstring("p=%C3%A9")))
	g.Expect(string(d.receive().Payload())).To(Equal("2"))
	g.Eventually(h.pendingCommands(t), patience).Should(Equal(pending(0)))
}

func TestContinuationSurvivesARestart(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"a", "b", "c"}})
	const query = `{"query":"SELECT deviceId FROM devices"}`
	page := h.call(t, http.MethodPost, "/devices/query", query, "x-ms-max-item-count", "2")
	g.Expect(page.text).To(MatchJSON(`[{"deviceId":"a"},{"deviceId":"b"}]`))
	h = h.restart(t, dir, nil)
	page = h.call(t, http.MethodPost, "/devices/query", query, "x-ms-continuation", page.header.Get("x-ms-continuation"))
	g.Expect(page.text).To(MatchJSON(`[{"deviceId":"c"}]`))
}

// A hub that is killed comes back as it was two seconds before, or later.
func TestKilledHubIsTheSame(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir, copied := t.TempDir(), t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1"}})
	file := filepath.Join(dir, "state.jsonl")
	first, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred(), "it is saved before anybody learns a key")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)
	before := h.everything(t, "d1")
	var second []byte
	g.Eventually(func() []byte {
		h.clock.Step(2 * time.Second)
		second, err = os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		return second
	}, patience).ShouldNot(Equal(first))
	g.Expect(os.WriteFile(filepath.Join(copied, "state.jsonl"), second, 0o600)).To(Succeed())

	again := startHubWith(t, hubemulator.Options{DataDir: copied})
	g.Expect(again.everything(t, "d1")).To(Equal(before))
	g.Expect(again.policyKey(t, "service")).To(Equal(h.policyKey(t, "service")))
}

func TestDevicesOfTheStartStayAsTheyAre(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1"}})
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)
	before := h.everything(t, "d1")
	h = h.restart(t, dir, func(o *hubemulator.Options) { o.Devices = []string{"d1", "d2"} })
	g.Expect(h.everything(t, "d1")).To(Equal(before))
	h.ok(t, http.MethodGet, "/twins/d2", "")

	text, err := os.ReadFile(filepath.Join(dir, "connections.json"))
	g.Expect(err).NotTo(HaveOccurred())
	var connections hubemulator.Connections
	g.Expect(json.Unmarshal(text, &connections)).To(Succeed())
	g.Expect(connections.Devices).To(HaveLen(2))
	g.Expect(connections.Addresses.HTTPS).To(Equal(h.server.HTTPSAddress()), "not those of the run before")
}

func TestEphemeralHubKeepsNothing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"kept"}})
	key := h.policyKey(t, "service")
	h = h.restart(t, dir, func(o *hubemulator.Options) { o.Ephemeral, o.Devices = true, []string{"passing"} })
	g.Expect(h.policyKey(t, "service")).NotTo(Equal(key))
	g.Expect(h.call(t, http.MethodGet, "/devices/kept", "").status).To(Equal(http.StatusNotFound))
	h = h.restart(t, dir, nil)
	g.Expect(h.policyKey(t, "service")).To(Equal(key), "what was kept is left alone")
	h.ok(t, http.MethodGet, "/devices/kept", "")
	g.Expect(h.call(t, http.MethodGet, "/devices/passing", "").status).To(Equal(http.StatusNotFound))

	h = startHubWith(t, hubemulator.Options{DataDir: filepath.Join(dir, "new"), Ephemeral: true})
	g.Expect(h.server.Close()).To(Succeed())
	entries, err := os.ReadDir(filepath.Join(dir, "new"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(entries).To(HaveLen(2), "ca.crt and connections.json")
}

func TestDataDirIsForOneHub(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir})
	_, err := hubemulator.Start(t.Context(), hubemulator.Options{DataDir: dir})
	g.Expect(err).To(MatchError(ContainSubstring("the data directory " + dir + " is in use by another hub")))
	g.Expect(filepath.Join(dir, "connections.json")).To(BeAnExistingFile(), "the other one is left in peace")
	h.restart(t, dir, nil)
}

func TestUnusableStateStopsTheStart(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1"}})
	g.Expect(h.server.Close()).To(Succeed())
	path := filepath.Join(dir, "state.jsonl")
	good, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	for name, tt := range map[string]struct {
		content []byte
		refusal string
	}{
		"half of it": {good[:len(good)/2], "is damaged: line"},
		"newer":      {bytes.Replace(good, []byte(`"version":1`), []byte(`"version":99`), 1), "its format is 99"},
		"a wrong key": {
			bytes.Replace(good, []byte(`-----BEGIN PRIVATE KEY-----`), []byte(`-----BEGIN SECRET KEY-----`), 1), "is damaged: line 2: certificates: ",
		},
	} {
		g.Expect(os.WriteFile(path, tt.content, 0o600)).To(Succeed())
		_, err := hubemulator.Start(t.Context(), hubemulator.Options{DataDir: dir})
		g.Expect(err).To(MatchError(And(ContainSubstring(path), ContainSubstring(tt.refusal), ContainSubstring("move the file away"))), name)
		for _, secret := range strings.FieldsFunc(string(good), func(r rune) bool { return r == '"' || r == '\n' }) {
			if len(secret) == 44 { // a key in base64
				g.Expect(err.Error()).NotTo(ContainSubstring(secret))
			}
		}
		g.Expect(os.ReadFile(path)).To(Equal(tt.content), "it is not written over")
		g.Expect(filepath.Join(dir, "connections.json")).NotTo(BeAnExistingFile(), "a process that waits for a hub is not told of an earlier one")
	}
	g.Expect(os.WriteFile(path, good, 0o600)).To(Succeed())
	startHubWith(t, hubemulator.Options{DataDir: dir}).ok(t, http.MethodGet, "/devices/d1", "")
}

// A start that fails half-way leaves the state as it was.
func TestFailedStartSavesNothing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	_, err := hubemulator.Start(t.Context(), hubemulator.Options{DataDir: dir, Devices: []string{"d1", "a b"}})
	g.Expect(err).To(MatchError(ContainSubstring(`creating device "a b"`)))
	g.Expect(filepath.Join(dir, "state.jsonl")).NotTo(BeAnExistingFile())
	h := startHubWith(t, hubemulator.Options{DataDir: dir})
	g.Expect(h.call(t, http.MethodGet, "/devices/d1", "").status).To(Equal(http.StatusNotFound))
}

func TestStateThatCannotBeSavedIsAnError(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := filepath.Join(t.TempDir(), "data")
	server, err := hubemulator.Start(t.Context(), hubemulator.Options{DataDir: dir})
	g.Expect(err).NotTo(HaveOccurred())
	must(server.AddDevice("d1"))
	g.Expect(os.RemoveAll(dir)).To(Succeed())
	g.Expect(server.Close()).To(MatchError(ContainSubstring("writing " + filepath.Join(dir, "state.jsonl"))))
}

func TestWhatARestartForgets(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	h := startHubWith(t, hubemulator.Options{DataDir: dir, Devices: []string{"d1"}, Tier: "S1"})
	must(h.server.AddFault(hubemulator.Fault{Operation: "getTwin", Action: hubemulator.FaultStaleRead, Count: 1}))
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":1}}`)
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).NotTo(HaveKey("tags"))
	g.Expect(h.server.Counters().Quota.Used).To(BeNumerically(">", 0))

	h = h.restart(t, dir, func(o *hubemulator.Options) { o.Tier = "S1" })
	g.Expect(h.server.Faults()).To(BeEmpty())
	g.Expect(h.server.Counters()).To(Equal(hubemulator.Counters{
		Operations: map[string]hubemulator.OperationCounters{}, Quota: &hubemulator.Quota{Limit: 400_000},
	}))
	must(h.server.AddFault(hubemulator.Fault{Operation: "getTwin", Action: hubemulator.FaultStaleRead}))
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")).To(HaveKey("tags"), "what was before the last write is forgotten")
}

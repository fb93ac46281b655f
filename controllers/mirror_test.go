package controllers_test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// hiddenValue is what stands in the place of a value that looks like a credential.
const hiddenValue = "a value that looks like a credential"

// TestReportedCredentialsAreHidden unless the object asks for them: all who may read it
// read its status.
func TestReportedCredentialsAreHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", "", "")
	obj.Spec.Mirror.Paths = []string{"lora", "wifi.ssid", "wifi.pwd", "selfTest", "connectivity", "pin"}
	w.create(obj)
	w.awaitReady(obj)
	const reported = `{"connectivity":"a2V5LW5vYm9keS1tYXktZXZlci1zZWUtMQ==","lora":{"AppSKey":"00112233","FCntUp":7},"pin":1234,` +
		`"selfTest":{"pass":true},"wifi":{"pwd":"hunter2","ssid":"plant"}}`
	w.report("d1", reported)
	mirrored := func() string {
		w.Expect(w.client.Get(w.Context(), client.ObjectKeyFromObject(obj), obj)).To(Succeed())
		if obj.Status.Reported == nil {
			return ""
		}
		return string(obj.Status.Reported.Raw)
	}
	const h = `"` + hiddenValue + `"`
	w.Eventually(mirrored, patience, "20ms").Should(Equal(
		`{"connectivity":` + h + `,"lora":{"AppSKey":` + h + `,"FCntUp":7},"pin":` + h + `,"selfTest":{"pass":true},"wifi":{"pwd":` + h + `,"ssid":"plant"}}`))
	w.Expect(obj.Status.Connectivity).To(Equal(hiddenValue))
	w.edit(obj, func() { obj.Spec.Mirror.Credentials = v1alpha1.CredentialsShown })
	w.Eventually(mirrored, patience, "20ms").Should(Equal(reported))
	w.edit(obj, func() { obj.Spec.Mirror.Credentials = v1alpha1.CredentialsHidden })
	w.Eventually(mirrored, patience, "20ms").Should(ContainSubstring(`"pwd":` + h))
}

// TestCredentialsByNameReachNoMessage: short names, and those of radio networks, tell
// a credential like "password" does.
func TestCredentialsByNameReachNoMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	wifi := w.twin("t1", "d1", "", `{"AppKey":"3ABBD3BD7E6FE44C","GatewayID":"","wifi":{"pass":"correcthorse","psk":"batterystaple","pwd":"hunter2"}}`)
	w.create(wifi)
	w.awaitReady(wifi)
	w.anotherWriterPatches("d1", hub.Patch{Desired: map[string]any{
		"AppKey": "00112233", "GatewayID": "gw2", "wifi": map[string]any{"pass": "a", "psk": "b", "pwd": "letmein"},
	}})
	w.Eventually(w.eventReasons, patience, "20ms").Should(ContainElement(And(
		HavePrefix("DriftCorrected restored on the hub: desired.AppKey (declared "+hiddenValue+", held "+hiddenValue+")"),
		ContainSubstring(`desired.GatewayID (declared "", held "gw2")`),
	)))
	told := strings.Join(w.eventReasons(), "\n")
	for _, secret := range []string{"3ABBD3BD", "00112233", "correcthorse", "batterystaple", "hunter2", "letmein"} {
		w.Expect(told).NotTo(ContainSubstring(secret))
	}
	w.Expect(w.desired("d1")).To(ContainSubstring("hunter2"), "the twin is as declared")
}

// TestColumns: the tutorials report the kind of network in an object, and TwinQueries
// are listed as people write lists.
func TestColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.create(w.query("redmond43", "tags.plant = 'Redmond43'"))
	w.create(w.query("redmond43-cellular", "tags.plant = 'Redmond43' AND properties.reported.connectivity.type = 'cellular'"))
	w.awaitReady(obj)
	w.report("d1", `{"connectivity":{"type":"cellular","signal":4}}`)
	w.Eventually(w.memberships(obj), patience, "20ms").Should(Equal([]string{"redmond43", "redmond43-cellular"}))
	w.Expect(obj.Status.Queries).To(Equal("redmond43,redmond43-cellular"))
	w.Expect(obj.Status.Connectivity).To(Equal("cellular"))
	cmd := exec.CommandContext(w.Context(), w.env.Kubectl(), "--kubeconfig", w.env.KubeconfigFile(w.T), "get", "devicetwin", "-n", w.ns, "t1", "--no-headers")
	printed, err := cmd.CombinedOutput()
	w.Expect(err).NotTo(HaveOccurred(), string(printed))
	columns := strings.Fields(string(printed))
	w.Expect(columns[:6]).To(Equal([]string{"t1", "d1", "True", "cellular", "Disconnected", "redmond43,redmond43-cellular"}))
}

// TestAnIDWithASemicolon is for the hub to take or to refuse; a connection string has
// no room for it.
func TestAnIDWithASemicolon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withPolicy("iothubowner"))
	w.connect()
	const id = "urn;dev:7"
	obj := w.registering(id)
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonInvalidTwin)
	w.Expect(ready.Message).To(ContainSubstring("spec.connectionSecretName: Invalid value: the id holds ';'"))
	w.edit(obj, func() { obj.Spec.ConnectionSecretName = "" })
	w.awaitReady(obj)
	w.Expect(obj.Status.Target).To(HaveSuffix("/" + id))
	w.Expect(w.tags(id)).To(Equal(`{"plant":"Redmond43"}`))
	query := w.query("semicolon", "STARTSWITH(deviceId, 'urn;')")
	w.create(query)
	w.awaitDevices(query, id)
	w.Eventually(w.memberships(obj), patience, "20ms").Should(Equal([]string{"semicolon"}))
	w.anotherWriter(id, map[string]any{"plant": "Elsewhere"})
	w.Eventually(func() string { return w.tags(id) }, patience, "20ms").Should(Equal(`{"plant":"Redmond43"}`))
}

// TestPastedConnectionStrings: a HubConnection says what was pasted, and what to do.
func TestPastedConnectionStrings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := w.credential("service")
	inJSON, err := json.Marshal(map[string]string{"connectionString": text})
	w.Expect(err).NotTo(HaveOccurred())
	for name, tt := range map[string]struct{ text, says string }{
		"quoted":   {`"` + text + `"`, "it stands in quotation marks"},
		"bom":      {"\ufeff" + text, "it begins with a byte order mark"},
		"env-line": {"connectionString=" + text, `it begins with a name and "="`},
		"az-json":  {string(inJSON), "it is JSON, as az prints it"},
		"event-hubs": {"Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=service;SharedAccessKey=AAAA;EntityPath=factory",
			"it is that of an Event Hubs-compatible endpoint"},
	} {
		w.createSecret(name, tt.text)
		conn := w.connection(name)
		w.create(conn)
		ready := w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonMalformedConnectionString)
		w.Expect(ready.Message).To(ContainSubstring(tt.says))
	}
}

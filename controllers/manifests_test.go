package controllers_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/amenzhinsky/iothub/iotservice"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// service is another back end's client, for what an operator never does.
func (w *world) service() *iotservice.Client {
	w.Helper()
	roots := x509.NewCertPool()
	w.Expect(roots.AppendCertsFromPEM(w.hub.CACertificatePEM())).To(BeTrue())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	w.Cleanup(transport.CloseIdleConnections)
	client, err := iotservice.NewFromConnectionString(w.credential("iothubowner"), iotservice.WithHTTPClient(&http.Client{Transport: transport}))
	w.Expect(err).NotTo(HaveOccurred())
	return client
}

// configure has the hub write desired properties by a configuration, to all devices.
func (w *world) configure(id string, content map[string]any) {
	w.Helper()
	_, err := w.service().CreateConfiguration(w.Context(), &iotservice.Configuration{
		ID: id, Content: &iotservice.ConfigurationContent{DeviceContent: content}, TargetCondition: "*", Priority: 10,
		Metrics: &iotservice.ConfigurationMetrics{Queries: map[string]string{}},
	})
	w.Expect(err).NotTo(HaveOccurred())
}

// TestAConfigurationThatFightsUsIsNamed, as the hub notes it in $metadata.
func TestAConfigurationThatFightsUsIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	obj := w.twin("t1", "d1", "", `{"chiller":{"temperature":21}}`)
	w.create(obj)
	w.awaitReady(obj)
	w.configure("chillers-2026", map[string]any{"properties.desired.chiller": map[string]any{"temperature": 66}})
	w.Eventually(func() string {
		_, err := w.hub.EvaluateConfigurations(w.Context())
		w.Expect(err).NotTo(HaveOccurred())
		if contended := w.condition(obj, v1alpha1.ConditionContended); contended != nil {
			return contended.Message
		}
		return ""
	}, patience, "300ms").Should(And(
		ContainSubstring(`desired.chiller.temperature (declared 21, held 66), by configuration "chillers-2026"`),
		HaveSuffix(`Change configuration "chillers-2026" at the hub (its content, or its target condition), or set a policy`)))
}

// TestObjectsOverForeignValues are conflicts, each at its place, and nothing of others is
// changed.
func TestObjectsOverForeignValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	w.anotherWriterPatches("d1", hub.Patch{
		Tags:    map[string]any{"location": "Redmond"},
		Desired: map[string]any{"test": "teststring", "list": []any{1}, "obj": map[string]any{"theirs": 1}},
	})
	obj := w.twin("t1", "d1", `{"location":{"plant":"Redmond43"},"site":"a"}`, `{"test":{"test2":"x"},"list":{"a":1},"obj":"str","ok":true}`)
	w.create(obj)
	ready := w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonConflict)
	for _, place := range []string{"tags.location", "desired.test", "desired.list", "desired.obj"} {
		w.Expect(ready.Message).To(ContainSubstring(place + " is declared"))
	}
	w.Expect(w.tags("d1")).To(Equal(`{"location":"Redmond","site":"a"}`))
	w.Expect(w.desired("d1")).To(Equal(`{"list":[1],"obj":{"theirs":1},"ok":true,"test":"teststring"}`))
}

// TestTheTwinOfAnEdgeAgent is kept like any other, beside the modules of others.
func TestTheTwinOfAnEdgeAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.connect()
	_, err := w.service().CreateDevice(w.Context(), &iotservice.Device{
		DeviceID: "edge-1", Status: "enabled", Capabilities: map[string]any{"iotEdge": true},
	})
	w.Expect(err).NotTo(HaveOccurred())
	agent := hub.ID{Device: "edge-1", Module: "$edgeAgent"}
	w.patchAsAnother(agent, hub.Patch{Desired: map[string]any{"modules": map[string]any{"theirs": map[string]any{"status": "running"}}}})
	obj := w.twin("t1", "edge-1", "", `{"schemaVersion":"1.1","runtime":{"type":"docker","settings":{"minDockerVersion":"v1.25"}},
		"systemModules":{"edgeAgent":{"type":"docker","settings":{"image":"agent:1.4","createOptions":""},"env":{"UpstreamProtocol":{"value":"AmqpWs"}}}},
		"modules":{"sensor":{"version":"1.0","status":"running","settings":{"image":"sensor:1.0","createOptions":"{\"HostConfig\":{\"Binds\":[","createOptions01":"]}}"}}}}`)
	obj.Spec.ModuleID = "$edgeAgent"
	w.create(obj)
	w.awaitReady(obj)
	w.patchAsAnother(agent, hub.Patch{Desired: map[string]any{"modules": map[string]any{"sensor": map[string]any{"settings": map[string]any{"image": "sensor:evil"}}}}})
	w.Eventually(func() any {
		held, err := w.otherSession().GetTwin(w.Context(), agent)
		w.Expect(err).NotTo(HaveOccurred())
		return held.Desired["modules"]
	}, patience, "50ms").Should(And(HaveKey("theirs"), HaveKeyWithValue("sensor", HaveKeyWithValue("settings", HaveKeyWithValue("image", "sensor:1.0")))))
}

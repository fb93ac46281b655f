package controllers_test

import (
	"bytes"
	"encoding/json"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// changes are the lines of a log that tell of changes of twins.
func changes(g Gomega, log *gbytes.Buffer) []map[string]any {
	var found []map[string]any
	for line := range bytes.Lines(log.Contents()) {
		var fields map[string]any
		g.Expect(json.Unmarshal(line, &fields)).To(Succeed(), "%s", line)
		if fields["msg"] == "changed the twin" {
			found = append(found, fields)
		}
	}
	return found
}

// TestEachChangeIsLogged: for what, which leaves, from which etag to which, and IoT Hub's id of the request. No value.
func TestEachChangeIsLogged(t *testing.T) {
	t.Parallel()
	log := gbytes.NewBuffer()
	w := newWorld(t, func(w *world) { w.log = zap.New(zap.WriteTo(log)) })
	w.connect()
	twin := w.twin("thermostat", "d1", `{"plant":"Redmond43"}`, `{"power":{"level":4711}}`)
	w.create(twin)
	w.awaitReady(twin)
	etags := []string{twin.Status.ETag}
	w.anotherWriter("d1", map[string]any{"plant": "elsewhere"})
	w.Eventually(func() string { return w.tags("d1") }, patience).Should(MatchJSON(`{"plant":"Redmond43"}`))
	w.edit(twin, func() { twin.Spec.Desired = &runtime.RawExtension{Raw: []byte(`{"mode":"frugal"}`)} })
	w.awaitReady(twin)

	lines := changes(w, log)
	w.Expect(lines).To(HaveLen(3))
	w.Expect(w.calls("updateTwin")).To(Equal(4), "another writer's is not ours")
	for i, want := range []struct{ cause, leaves string }{
		{"edit", "tags.plant, desired.power.level"}, {"drift", "tags.plant"}, {"edit", "desired.mode, desired.power"},
	} {
		w.Expect(lines[i]).To(And(HaveKeyWithValue("cause", want.cause), HaveKeyWithValue("leaves", want.leaves),
			HaveKeyWithValue("device", "d1"), HaveKeyWithValue("name", "thermostat"), HaveKeyWithValue("namespace", w.ns),
			HaveKeyWithValue("level", "info"), HaveKeyWithValue("requestID", MatchRegexp(`^[0-9a-f-]{36}$`))))
		w.Expect(lines[i]["etag"]).NotTo(Equal(lines[i]["etagBefore"]))
	}
	w.Expect(lines[0]).To(HaveKeyWithValue("etag", etags[0]))
	w.Expect(lines[2]).To(HaveKeyWithValue("etag", twin.Status.ETag))
	w.Expect(string(log.Contents())).NotTo(Or(ContainSubstring("4711"), ContainSubstring("Redmond43"), ContainSubstring("frugal")))
}

package hubemulator_test

import (
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// metadata is what a twin says of its desired properties at a path.
func (h *hub) metadata(t *testing.T, id string, path ...string) any {
	t.Helper()
	return at(h.ok(t, http.MethodGet, "/twins/"+id, ""), append([]string{"properties", "desired", "$metadata"}, path...)...)
}

const lastUpdatedBy, byDigest = "$lastUpdatedBy", "$lastUpdatedByDigest"

func TestMetadataNamesTheConfiguration(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1")
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"theirs":1,"chiller":{"theirs":1}}}}`)
	h.put(t, "low", configurationBody(`{"properties.desired.chiller":{"temperature":66,"pressure":28},"properties.desired.list":[1]}`, "*", `"priority":1`))
	h.clock.Step(time.Second)
	h.put(t, "high", configurationBody(`{"properties.desired.chiller.pressure":30}`, "*", `"priority":2`))
	h.clock.Step(time.Second)
	g.Expect(h.evaluate(t)).To(Equal(1))

	for path, want := range map[string][2]any{
		// The digests are the times of the creations in ticks of 100 ns.
		"temperature": {"low", "639307668301234500"}, "pressure": {"high", "639307668311234500"}, "theirs": {nil, nil},
	} {
		leaf := h.metadata(t, "d1", "chiller", path).(object)
		g.Expect([2]any{leaf[lastUpdatedBy], leaf[byDigest]}).To(Equal(want), path)
		g.Expect(leaf).To(HaveKey("$lastUpdatedVersion"))
	}
	g.Expect(h.metadata(t, "d1", "list", lastUpdatedBy)).To(Equal("low"))
	for _, above := range []any{h.metadata(t, "d1"), h.metadata(t, "d1", "chiller"), h.metadata(t, "d1", "theirs")} {
		g.Expect(above).NotTo(Or(HaveKey(lastUpdatedBy), HaveKey(byDigest)), "only leaves have an author")
	}
	rows, _ := h.query(t, `SELECT deviceId, properties.desired.$metadata.chiller.pressure.$lastUpdatedBy AS who FROM devices `+
		`WHERE properties.desired.$metadata.chiller.temperature.$lastUpdatedBy = 'low'`)
	g.Expect(rows).To(Equal([]object{{"deviceId": "d1", "who": "high"}}))
	rows, _ = h.query(t, `SELECT * FROM devices`)
	g.Expect(at(rows[0], "properties", "desired", "$metadata")).To(Equal(h.metadata(t, "d1")))

	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"chiller":{"pressure":31}}}}`)
	g.Expect(h.metadata(t, "d1", "chiller", "pressure")).NotTo(HaveKey(lastUpdatedBy), "another writer was last")
	g.Expect(h.metadata(t, "d1", "chiller", "temperature", lastUpdatedBy)).To(Equal("low"))
	g.Expect(h.evaluate(t)).To(Equal(1))
	g.Expect(h.metadata(t, "d1", "chiller", "pressure", lastUpdatedBy)).To(Equal("high"))
	h.ok(t, http.MethodPut, "/twins/d1", `{"properties":{"desired":{"chiller":{"temperature":66,"pressure":30},"list":[1]}}}`)
	g.Expect(h.metadata(t, "d1", "chiller", "pressure")).NotTo(HaveKey(lastUpdatedBy))
}

func TestMetadataNamesTheDeployment(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t)
	h.ok(t, http.MethodPut, "/devices/e1", `{`+edgeBody+`}`)
	h.put(t, "base", `{"content":{"modulesContent":{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.1"}},`+
		`"$edgeHub":{"properties.desired":{"routes":{"up":"FROM /*"}}}}},"targetCondition":"*","priority":1}`)
	h.put(t, "layer", `{"content":{"modulesContent":{"$edgeAgent":{},"$edgeHub":{"properties.desired.routes.extra":"FROM /a"}}},"targetCondition":"*","priority":2}`)
	h.evaluate(t)
	g.Expect(h.metadata(t, "e1/modules/%24edgeAgent", "schemaVersion", lastUpdatedBy)).To(Equal("base"))
	g.Expect(h.metadata(t, "e1/modules/%24edgeHub", "routes", "up", lastUpdatedBy)).To(Equal("base"))
	g.Expect(h.metadata(t, "e1/modules/%24edgeHub", "routes", "extra", lastUpdatedBy)).To(Equal("layer"))

	answer := h.call(t, http.MethodPost, "/devices/e1/applyConfigurationContent",
		`{"modulesContent":{"$edgeAgent":{"properties.desired":{"schemaVersion":"1.2"}}}}`)
	g.Expect(answer.status).To(Equal(http.StatusNoContent))
	g.Expect(h.metadata(t, "e1/modules/%24edgeAgent", "schemaVersion")).NotTo(HaveKey(lastUpdatedBy), "that was no configuration")
}

func TestAuthorsAndMissingMetadataOutliveARestart(t *testing.T) {
	t.Parallel()
	g, dir := NewWithT(t), t.TempDir()
	opts := hubemulator.Options{DataDir: dir, Devices: []string{"d1"}, Choices: hubemulator.Choices{ReplacedMetadata: "missing"}}
	h := startHubWith(t, opts)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"test":"text"}}}`)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"properties":{"desired":{"test":{"test2":"text"}}}}`)
	h.put(t, "c1", configurationBody(`{"properties.desired.a":1}`, "*", ""))
	h.evaluate(t)
	before := h.metadata(t, "d1")
	g.Expect(at(before, "a", lastUpdatedBy)).To(Equal("c1"))
	g.Expect(h.server.Close()).To(Succeed())
	again := startHubWith(t, opts)
	g.Expect(again.metadata(t, "d1")).To(Equal(before))
}

func TestMetadataInsideAReplacementIsMissing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{Devices: []string{"d1"}, Choices: hubemulator.Choices{ReplacedMetadata: "missing"}})
	write := func(method, desired string) {
		h.ok(t, method, "/twins/d1", `{"properties":{"desired":`+desired+`}}`)
	}
	write(http.MethodPatch, `{"test":"text","other":{"a":1,"b":[1]}}`)
	write(http.MethodPatch, `{"test":{"test2":"text"},"other":{"b":{"c":{"d":1}}}}`)
	for _, path := range [][]string{{"test"}, {"other", "b"}} {
		g.Expect(h.metadata(t, "d1", path...)).To(And(HaveLen(2), HaveKey("$lastUpdated"), HaveKey("$lastUpdatedVersion")), path[0])
	}
	g.Expect(h.metadata(t, "d1", "other", "a")).NotTo(BeNil())
	rows, _ := h.query(t, `SELECT * FROM devices`)
	g.Expect(at(rows[0], "properties", "desired", "$metadata", "test")).To(HaveLen(2))
	rows, _ = h.query(t, `SELECT deviceId FROM devices WHERE IS_DEFINED(properties.desired.$metadata.test.test2.$lastUpdated)`)
	g.Expect(rows).To(BeEmpty())

	write(http.MethodPatch, `{"test":{"test3":1}}`)
	g.Expect(h.metadata(t, "d1", "test")).To(HaveLen(2), "it stays so")
	write(http.MethodPatch, `{"test":null}`)
	write(http.MethodPatch, `{"test":{"test2":"text"}}`)
	g.Expect(h.metadata(t, "d1", "test", "test2")).NotTo(BeNil(), "this one replaced nothing")
	write(http.MethodPatch, `{"test":7}`)
	write(http.MethodPut, `{"test":{"test2":"text"}}`)
	g.Expect(h.metadata(t, "d1", "test")).To(HaveLen(2))
}

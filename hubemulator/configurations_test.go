package hubemulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// configurationBody has a device content; members are more of the body.
func configurationBody(content, condition, members string) string {
	if members != "" {
		members = "," + members
	}
	return fmt.Sprintf(`{"content":{"deviceContent":%s},"targetCondition":%q%s}`, content, condition, members)
}

func TestCreateConfiguration(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	answer := h.call(t, http.MethodPut, "/configurations/chiller", `{
		"id": "chiller", "labels": {"HostPlatform": "SomeValue"},
		"content": {"deviceContent": {"properties.desired.chiller": {"temperature": 66, "ratio": 1.50}}},
		"targetCondition": "*", "priority": 580374961,
		"systemMetrics": {"queries": {"mine": "ignored"}}, "etag": "ignored"
	}`, "If-Match", `""`)
	g.Expect(answer.status).To(Equal(http.StatusOK), answer.text)
	g.Expect(answer.header.Get("ETag")).To(Equal(`"MQ=="`))
	g.Expect(answer.text).To(Equal(`{"id":"chiller","schemaVersion":null,"labels":{"HostPlatform":"SomeValue"},` +
		`"content":{"deviceContent":{"properties.desired.chiller":{"ratio":1.50,"temperature":66}}},"targetCondition":"*",` +
		`"createdTimeUtc":"2026-11-20T10:20:30.12345Z","lastUpdatedTimeUtc":"2026-11-20T10:20:30.12345Z","priority":580374961,` +
		`"systemMetrics":{"results":{},"queries":{` +
		`"appliedCount":"select deviceId from devices where configurations.[[chiller]].status = 'Applied'",` +
		`"targetedCount":"select deviceId from devices"}},` +
		`"metrics":{"results":{},"queries":{}},"etag":"MQ=="}`))
	read := h.call(t, http.MethodGet, "/configurations/chiller", "")
	g.Expect(read.text).To(Equal(answer.text))
	g.Expect(read.header.Get("ETag")).To(Equal(`"MQ=="`))

	least := h.ok(t, http.MethodPut, "/configurations/least", `{"content":{"deviceContent":{}}}`)
	g.Expect(least["labels"]).To(BeNil())
	g.Expect(least["targetCondition"]).To(Equal(""))
	g.Expect(least["priority"]).To(Equal(jsonNumber("0")))
	g.Expect(at(least, "systemMetrics", "queries", "targetedCount")).To(Equal(""))
}

func TestConfigurationIDs(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	body := configurationBody(`{}`, "*", "")
	for _, id := range []string{"a", "0-+%_*!'z", strings.Repeat("x", 128)} {
		created := h.ok(t, http.MethodPut, "/configurations/"+url.PathEscape(id), body)
		NewWithT(t).Expect(created["id"]).To(Equal(id))
		NewWithT(t).Expect(h.ok(t, http.MethodGet, "/configurations/"+url.PathEscape(id), "")).To(Equal(created))
	}
	for _, id := range []string{"Upper", "a b", "a.b", "a#", "ä", strings.Repeat("x", 129)} {
		expectError(t, h.call(t, http.MethodPut, "/configurations/"+url.PathEscape(id), body), http.StatusBadRequest, "ArgumentInvalid",
			"The configuration id should be 1 to 128 characters: lower-case letters, digits and -+%_*!'")
	}
	expectError(t, h.call(t, http.MethodPut, "/configurations/a", `{"id":"b","content":{"deviceContent":{}}}`), http.StatusBadRequest, "ArgumentInvalid",
		"The configuration id in the body should be the one in the path")
}

// Only a quoted etag and the wildcard make a PUT an update.
func TestConfigurationIfMatch(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	const path, exists = "/configurations/c1", "Configuration with id 'c1' already exist on IotHub."
	const missing = "Configuration with id 'c1' does not exist on IotHub."
	body := configurationBody(`{}`, "*", "")
	for _, ifMatch := range []string{`*`, `"*"`, `"MQ=="`} {
		expectError(t, h.call(t, http.MethodPut, path, body, "If-Match", ifMatch), http.StatusNotFound, "ConfigurationNotFound", missing)
	}
	expectError(t, h.call(t, http.MethodGet, path, ""), http.StatusNotFound, "ConfigurationNotFound", missing)
	expectError(t, h.call(t, http.MethodDelete, path, "", "If-Match", "*"), http.StatusNotFound, "ConfigurationNotFound", missing)

	h.ok(t, http.MethodPut, path, body)
	expectError(t, h.call(t, http.MethodPut, path, body), http.StatusConflict, "ConfigurationAlreadyExists", exists)
	for _, ifMatch := range []string{``, `""`, `MQ==`, `"`, `other`} {
		expectError(t, h.call(t, http.MethodPut, path, body, "If-Match", ifMatch), http.StatusConflict, "ConfigurationAlreadyExists", exists)
	}
	expectError(t, h.call(t, http.MethodPut, path, body, "If-Match", `"Mg=="`), http.StatusPreconditionFailed, "PreconditionFailed", "PreconditionFailed")
	for i, ifMatch := range []string{`"MQ=="`, `*`, `"*"`} {
		updated := h.call(t, http.MethodPut, path, body, "If-Match", ifMatch)
		NewWithT(t).Expect(updated.status).To(Equal(http.StatusOK), updated.text)
		NewWithT(t).Expect(updated.header.Get("ETag")).To(Equal([]string{`"Mg=="`, `"Mw=="`, `"NA=="`}[i]), "the next decimal")
	}

	expectError(t, h.call(t, http.MethodDelete, path, "", "If-Match", `"MQ=="`), http.StatusPreconditionFailed, "PreconditionFailed", "PreconditionFailed")
	for _, ifMatch := range []string{`"NA=="`, `*`, `MQ==`, ``, `"MQ=="`} {
		if h.call(t, http.MethodGet, path, "").status == http.StatusNotFound {
			h.ok(t, http.MethodPut, path, body)
		}
		answer := h.call(t, http.MethodDelete, path, "", "If-Match", ifMatch)
		NewWithT(t).Expect(answer.status).To(Equal(http.StatusNoContent), answer.text)
		NewWithT(t).Expect(answer.text).To(BeEmpty())
	}
	h.ok(t, http.MethodPut, path, body)
	NewWithT(t).Expect(h.call(t, http.MethodDelete, path, "").status).To(Equal(http.StatusNoContent), "DELETE needs no If-Match")
}

func TestUpdateConfiguration(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	const path = "/configurations/c1"
	before := h.ok(t, http.MethodPut, path, configurationBody(`{"properties.desired.a":1}`, "tags.a = 1",
		`"schemaVersion":"1.0","labels":{"a":"b"},"priority":3,"metrics":{"queries":{"m":"SELECT deviceId FROM devices"}}`))
	h.clock.Step(time.Second)
	after := h.ok(t, http.MethodPut, path, configurationBody(`{"properties.desired.b":2}`, "tags.b = 2", `"labels":{}`), "If-Match", `"MQ=="`)
	g.Expect(after["content"]).To(Equal(before["content"]), "another content is ignored without a word")
	g.Expect(after["targetCondition"]).To(Equal("tags.b = 2"))
	g.Expect(at(after, "systemMetrics", "queries", "targetedCount")).To(Equal("select deviceId from devices where tags.b = 2"))
	g.Expect(after["labels"]).To(Equal(object{}))
	g.Expect(after["schemaVersion"]).To(BeNil(), "an update replaces all but the content")
	g.Expect(after["priority"]).To(Equal(jsonNumber("0")))
	g.Expect(at(after, "metrics", "queries")).To(Equal(object{}))
	g.Expect(after["createdTimeUtc"]).To(Equal(before["createdTimeUtc"]))
	g.Expect(after["lastUpdatedTimeUtc"]).To(Equal("2026-11-20T10:20:31.12345Z"))
	g.Expect(after["etag"]).To(Equal("Mg=="))

	refused := h.call(t, http.MethodPut, path, `{"targetCondition":"*","priority":9}`, "If-Match", "*")
	expectError(t, refused, http.StatusBadRequest, "InvalidConfigurationContent",
		"'content' should have exactly one of deviceContent, moduleContent and modulesContent, also in an update")
	g.Expect(h.ok(t, http.MethodGet, path, "")).To(Equal(after))
}

func TestRefusedConfigurations(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	const content, target, metrics = "InvalidConfigurationContent", "InvalidConfigurationTargetCondition", "InvalidConfigurationCustomMetricsQuery"
	condition := func(text string) string { return configurationBody(`{}`, text, "") }
	modules := func(text string) string { return `{"content":{"modulesContent":` + text + `}}` }
	queries := func(text string) string { return configurationBody(`{}`, "*", `"metrics":{"queries":`+text+`}`) }
	for name, tt := range map[string]struct{ body, code, text string }{
		"no JSON":                  {`{`, "IotHubFormatError", "not the JSON that is expected"},
		"content of another shape": {`{"content":{"deviceContent":5}}`, "IotHubFormatError", "deviceContent"},
		"priority of no integer":   {configurationBody(`{}`, "*", `"priority":1.5`), "IotHubFormatError", "priority"},
		"priority below 0":         {configurationBody(`{}`, "*", `"priority":-1`), "ArgumentInvalid", "'priority' should be 0 or more"},

		"no content":               {`{"targetCondition":"*"}`, content, "exactly one of"},
		"two contents":             {`{"content":{"deviceContent":{},"modulesContent":{"$edgeAgent":{}}}}`, content, "exactly one of"},
		"tags":                     {configurationBody(`{"tags.a":1}`, "*", ""), content, "'tags.a' in 'deviceContent' should be 'properties.desired' or begin with 'properties.desired.'"},
		"reported":                 {configurationBody(`{"properties.reported.a":1}`, "*", ""), content, "'properties.reported.a'"},
		"no dot behind the root":   {configurationBody(`{"properties.desiredX":1}`, "*", ""), content, "'properties.desiredX'"},
		"empty name":               {configurationBody(`{"properties.desired.a..b":1}`, "*", ""), content, "has an empty name between its dots"},
		"scalar as all properties": {configurationBody(`{"properties.desired":1}`, "*", ""), content, "should be a JSON object"},
		"bad name":                 {configurationBody(`{"properties.desired.a":{"b c":1}}`, "*", ""), content, "invalid characters. Error in Property/Tag b c."},
		"bad name in the path":     {configurationBody(`{"properties.desired.a$":1}`, "*", ""), content, "invalid characters. Error in Property/Tag a$."},
		"long text":                {configurationBody(`{"properties.desired.a":"`+strings.Repeat("x", 4097)+`"}`, "*", ""), content, "maximum 4096 bytes"},
		"no $edgeAgent":            {modules(`{"$edgeHub":{}}`), content, "'modulesContent' should have '$edgeAgent'"},
		"$edgeAgent null":          {modules(`{"$edgeAgent":null}`), content, "'modulesContent' should have '$edgeAgent'"},
		"other system module":      {modules(`{"$edgeAgent":{},"$other":{}}`), content, "'$other', which is no system module"},
		"path of a module":         {modules(`{"$edgeAgent":{},"m1":{"desired":1}}`), content, "'desired' in 'modulesContent.m1'"},

		"condition of nonsense":         {condition("tags.a ="), target, "The target condition is no condition: "},
		"condition as a query":          {condition("SELECT * FROM devices"), target, "The target condition is no condition: "},
		"condition on desired":          {condition("properties.desired.a = 1"), target, "should name deviceId, tags and properties.reported only"},
		"condition on the state":        {condition("connectionState = 'Connected'"), target, "should name deviceId, tags and properties.reported only"},
		"condition on a module":         {condition("moduleId = 'm1'"), target, "should name deviceId, tags and properties.reported only"},
		"condition on modules":          {condition("FROM devices.modules WHERE tags.a = 1"), target, "is for a moduleContent only"},
		"module without its source":     {`{"content":{"moduleContent":{}},"targetCondition":"tags.a = 1"}`, target, "should begin with FROM devices.modules WHERE"},
		"module on everything":          {`{"content":{"moduleContent":{}},"targetCondition":"*"}`, target, "should begin with FROM devices.modules WHERE"},
		"module with an empty where":    {`{"content":{"moduleContent":{}},"targetCondition":"FROM devices.modules WHERE "}`, target, "The target condition is no condition: "},
		"module on the desired version": {`{"content":{"moduleContent":{}},"targetCondition":"FROM devices.modules WHERE properties.desired.a = 1"}`, target, "deviceId, tags and properties.reported"},

		"metric of nonsense": {queries(`{"m":"SELEC nope"}`), metrics, "Metric 'm': "},
		"empty metric":       {queries(`{"m":""}`), metrics, "Metric 'm': "},
		"six metrics":        {queries(`{"a":"","b":"","c":"","d":"","e":"","f":""}`), metrics, "maximum 5 queries"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			answer := h.call(t, http.MethodPut, "/configurations/c1", tt.body)
			g.Expect(answer.status).To(Equal(http.StatusBadRequest), answer.text)
			g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(tt.code), answer.text)
			g.Expect(decode[object](t, answer.text)["Message"]).To(And(HavePrefix("ErrorCode:"+tt.code+";"), ContainSubstring(tt.text)))
			g.Expect(h.call(t, http.MethodGet, "/configurations/c1", "").status).To(Equal(http.StatusNotFound))
		})
	}
}

func TestListConfigurations(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	g.Expect(h.call(t, http.MethodGet, "/configurations", "").text).To(Equal(`[]`))
	created := []object{}
	for _, id := range []string{"b", "a", "c"} {
		created = append(created, h.ok(t, http.MethodPut, "/configurations/"+id, configurationBody(`{}`, "*", "")))
		h.clock.Step(time.Second)
	}
	for _, parameters := range []string{"", "&top=1", "&top=1000", "&top=x"} {
		answer, err := h.do(t.Context(), http.MethodGet, "/configurations"+version+parameters, "")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(answer.header).NotTo(HaveKey("Etag"))
		g.Expect(decode[[]object](t, answer.text)).To(Equal(created), "in the order of creation; top is ignored")
	}
}

func TestConfigurationsPerHub(t *testing.T) {
	t.Parallel()
	for tier, limit := range map[string]int{"F1": 10, "": 100} {
		h := startHubWith(t, hubemulator.Options{Tier: tier})
		for i := range limit {
			h.ok(t, http.MethodPut, fmt.Sprintf("/configurations/c%d", i), configurationBody(`{}`, "", ""))
		}
		one := configurationBody(`{}`, "", "")
		expectError(t, h.call(t, http.MethodPut, "/configurations/more", one), http.StatusRequestEntityTooLarge, "ConfigurationCountLimitExceeded",
			fmt.Sprintf("The hub should have maximum %d configurations.", limit))
		h.ok(t, http.MethodPut, "/configurations/c0", one, "If-Match", "*")
		NewWithT(t).Expect(h.call(t, http.MethodDelete, "/configurations/c0", "").status).To(Equal(http.StatusNoContent))
		h.ok(t, http.MethodPut, "/configurations/more", one)
	}
}

func TestConfigurationQueriesAreTested(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	test := func(body string) object { return h.ok(t, http.MethodPost, "/configurations/testQueries", body) }
	none := object{"targetConditionError": nil, "customMetricQueryErrors": object{}}
	g.Expect(test(`{"targetCondition":"tags.a = 1","customMetricQueries":{"m":"SELECT COUNT() AS n FROM devices"}}`)).To(Equal(none))
	g.Expect(test(`{"targetCondition":"FROM devices.modules WHERE moduleId = 'm1'"}`)).To(Equal(none))

	wrong := test(`{"targetCondition":"properties.desired.a = 1","customMetricQueries":{"good":"SELECT * FROM devices","bad":"SELEC nope"}}`)
	g.Expect(wrong["targetConditionError"]).To(ContainSubstring("should name deviceId, tags and properties.reported only"))
	g.Expect(wrong["customMetricQueryErrors"]).To(And(HaveLen(1), HaveKeyWithValue("bad", ContainSubstring("expected SELECT"))))
	g.Expect(test(`{"targetCondition":"*"}`)["targetConditionError"]).NotTo(BeNil(), "a PUT accepts it, a test does not")
	g.Expect(h.call(t, http.MethodPost, "/configurations/testQueries", `{`).header.Get("iothub-errorcode")).To(Equal("IotHubFormatError"))
}

func TestSystemMetricsOfModulesAndDeployments(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t)
	queries := func(id, body string) any {
		return at(h.ok(t, http.MethodPut, "/configurations/"+id, body), "systemMetrics", "queries")
	}
	g.Expect(queries("m", `{"content":{"moduleContent":{}},"targetCondition":"from devices.modules where tags.a = 1"}`)).To(Equal(object{
		"targetedCount": "select deviceId from devices.modules where tags.a = 1",
		"appliedCount":  "select deviceId from devices.modules where configurations.[[m]].status = 'Applied'",
	}))
	applied := "select deviceId from devices.modules where moduleId = '$edgeAgent' and configurations.[[e]].status = 'Applied'"
	reported := applied + " and properties.desired.$version = properties.reported.lastDesiredVersion and properties.reported.lastDesiredStatus.code "
	g.Expect(queries("e", `{"content":{"modulesContent":{"$edgeAgent":{}}},"targetCondition":"tags.a ='b'"}`)).To(Equal(object{
		"targetedCount":           "select deviceId from devices where capabilities.iotEdge = true and tags.a ='b'",
		"appliedCount":            applied,
		"reportedSuccessfulCount": reported + "= 200",
		"reportedFailedCount":     reported + "!= 200",
	}))
	for condition, query := range map[string]string{
		"*":                        "select deviceId from devices where capabilities.iotEdge = true",
		"":                         "",
		"tags.a = 1 OR tags.b = 2": "select deviceId from devices where capabilities.iotEdge = true and (tags.a = 1 OR tags.b = 2)",
	} {
		body := fmt.Sprintf(`{"content":{"modulesContent":{"$edgeAgent":{}}},"targetCondition":%q}`, condition)
		updated := h.ok(t, http.MethodPut, "/configurations/e", body, "If-Match", "*")
		g.Expect(at(updated, "systemMetrics", "queries", "targetedCount")).To(Equal(query))
	}
}

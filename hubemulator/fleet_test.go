package hubemulator_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// fleetFile writes a file and returns its path.
func fleetFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startFleet(t *testing.T, text string) *hub {
	t.Helper()
	return startHubWith(t, hubemulator.Options{Fleet: must(hubemulator.ReadFleet(fleetFile(t, text)))})
}

func TestFleet(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startFleet(t, `
# leaf comes before its parent
devices:
- id: leaf
  parent: lower
- id: thermostat-1
  status: disabled
  statusReason: in repair
  authentication:
    symmetricKey: {primaryKey: `+key1+`, secondaryKey: `+key2+`}
  tags: {location: {plant: Redmond43}}
  desired: {x: {z: 1}}
  reported: {connectivity: {type: cellular}}
  modules:
  - id: m1
    managedBy: me
    tags: {a: 1}
    desired: {b: 2.5}
    reported: {c: [true, "{{n}}"]}
- id: lower
  iotEdge: true
  parent: upper
- {id: upper, iotEdge: true}
- id: self-signed
  authentication: {x509Thumbprint: {primaryThumbprint: "0123456789012345678901234567890123456789"}}
- id: authority
  authentication: {type: certificateAuthority}
`)
	identity := h.ok(t, http.MethodGet, "/devices/thermostat-1", "")
	g.Expect(identity).To(And(HaveKeyWithValue("status", "disabled"), HaveKeyWithValue("statusReason", "in repair")))
	g.Expect(at(identity, "authentication", "symmetricKey")).To(Equal(object{"primaryKey": key1, "secondaryKey": key2}))
	g.Expect(at(h.ok(t, http.MethodGet, "/devices/self-signed", ""), "authentication", "type")).To(Equal("selfSigned"))
	g.Expect(at(h.ok(t, http.MethodGet, "/devices/authority", ""), "authentication", "type")).To(Equal("certificateAuthority"))
	scope := func(id string) any { return h.ok(t, http.MethodGet, "/devices/"+id, "")["deviceScope"] }
	g.Expect(h.ok(t, http.MethodGet, "/devices/lower", "")["parentScopes"]).To(Equal([]any{scope("upper")}))
	g.Expect(scope("leaf")).To(Equal(scope("lower")))

	// The counters are those of a bulk creation.
	const stamp = `"$lastUpdated":"0001-01-01T00:00:00Z"`
	const now = `"$lastUpdated":"2026-11-20T10:20:30.12345Z"`
	twin := h.ok(t, http.MethodGet, "/twins/thermostat-1", "")
	expectCounters(t, twin, "AAAAAAAAAAE=", "2", "1")
	g.Expect(twin["tags"]).To(Equal(decode[object](t, `{"location":{"plant":"Redmond43"}}`)))
	g.Expect(at(twin, "properties")).To(Equal(decode[object](t, `{
		"desired": {"x":{"z":1},"$version":1,"$metadata":{`+stamp+`,"$lastUpdatedVersion":1,
			"x":{`+stamp+`,"$lastUpdatedVersion":1,"z":{`+stamp+`,"$lastUpdatedVersion":1}}}},
		"reported": {"connectivity":{"type":"cellular"},"$version":1,"$metadata":{`+now+`,"connectivity":{`+now+`,"type":{`+now+`}}}}
	}`)))
	h.ok(t, http.MethodPut, "/devices/thermostat-1", `{}`, "If-Match", "*") // enabled, for its modules to be seen
	module := h.ok(t, http.MethodGet, "/twins/thermostat-1/modules/m1", "")
	expectCounters(t, module, "AAAAAAAAAAE=", "2", "1")
	g.Expect(module["tags"]).To(Equal(object{"a": jsonNumber("1")}))
	g.Expect(at(module, "properties", "desired", "b")).To(Equal(jsonNumber("2.5")))
	g.Expect(at(module, "properties", "reported", "c")).To(Equal([]any{true, "{{n}}"}), "there is no count")
	g.Expect(at(module, "properties", "reported", "$metadata")).To(Equal(decode[object](t, `{`+stamp+`,"c":{`+stamp+`}}`)))
	g.Expect(h.ok(t, http.MethodGet, "/devices/thermostat-1/modules/m1", "")["managedBy"]).To(Equal("me"))

	// They live on as any other twin.
	patched := h.ok(t, http.MethodPatch, "/twins/thermostat-1", `{"properties":{"desired":{"x":{"y":2}}}}`)
	expectCounters(t, patched, "AAAAAAAAAAI=", "3", "2")
	g.Expect(h.server.Report("thermostat-1", []byte(`{}`))).To(Equal(int64(2)))
}

func TestFleetTemplate(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startFleet(t, `
devices:
- id: gateway-{{n}}
  count: 2
  iotEdge: true
- id: device-{{ n }}
  count: 2
  parent: gateway-{{n}}
  statusReason: number {{n}}
  tags: {serial: "no-{{n}}-{{n}}", "key-{{n}}": true}
  desired: {list: ["{{n}}"]}
  modules:
  - id: module-{{n}}
    reported: {number: "{{n}}"}
`)
	for _, n := range []string{"1", "2"} {
		identity := h.ok(t, http.MethodGet, "/devices/device-"+n, "")
		g.Expect(identity["statusReason"]).To(Equal("number " + n))
		g.Expect(identity["deviceScope"]).To(Equal(h.ok(t, http.MethodGet, "/devices/gateway-"+n, "")["deviceScope"]))
		twin := h.ok(t, http.MethodGet, "/twins/device-"+n, "")
		g.Expect(twin["tags"]).To(Equal(object{"serial": "no-" + n + "-" + n, "key-" + n: true}))
		g.Expect(at(twin, "properties", "desired", "list")).To(Equal([]any{n}))
		g.Expect(at(h.ok(t, http.MethodGet, "/twins/device-"+n+"/modules/module-"+n, ""), "properties", "reported", "number")).To(Equal(n))
	}
	keys := map[string]bool{}
	for _, id := range []string{"gateway-1", "gateway-2", "device-1", "device-2"} {
		keys[must(h.server.DeviceConnectionString(id))] = true
	}
	g.Expect(keys).To(HaveLen(4), "each has keys of its own")
	g.Expect(decode[[]object](t, h.call(t, http.MethodGet, "/devices", "").text)).To(HaveLen(4))
}

func TestFleetInJSON(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startFleet(t, "{\n\t\"devices\": [\n\t\t{\"id\": \"d1\", \"tags\": {\"big\": 4503599627370495, \"half\": 0.5}}\n\t]\n}\n")
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["tags"]).To(Equal(object{
		"big": jsonNumber("4503599627370495"), "half": jsonNumber("0.5"),
	}))
}

func TestRefusedFleetFiles(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, refusal string }{
		"nothing":              {"", `there is no device in it; it should be a list called "devices"`},
		"an empty list":        {"devices: []", `there is no device in it`},
		"no YAML":              {"devices: [", "yaml: "},
		"another kind of list": {"device:\n- id: a", `unknown field "device"`},
		"an unknown field":     {"devices:\n- id: a\n- id: b\n  desird: {}", `device "b": unknown field "desird"`},
		"another spelling":     {"devices:\n- id: a\n  Tags: {}", `device "a": unknown field "Tags"`},
		"one in a module":      {"devices:\n- id: a\n  modules:\n  - id: m\n  - {id: o, status: enabled}", `device "a": unknown field "modules[1].status"`},
		"twice":                {"devices:\n- id: a\n  tags: {b: 1, b: 2}", `key "b" already set in map`},
		"a number for an id":   {"devices:\n- id: 17", `device "17": id: it should not be a JSON number`},
		"a text for a section": {"devices:\n- id: a\n  tags: b", `device "a": tags: it should not be a JSON string`},
		"no id, of the wrong":  {"devices:\n- status: [1]", `device number 1: status: it should not be a JSON array`},
		"several documents":    {"devices:\n- id: a\n---\ndevices:\n- id: b", "it should be one YAML document, not several"},
	} {
		path := fleetFile(t, tt.text)
		_, err := hubemulator.ReadFleet(path)
		NewWithT(t).Expect(err).To(MatchError(And(HavePrefix(path+": "), ContainSubstring(tt.refusal))), name)
	}
	g := NewWithT(t)
	_, err := hubemulator.ReadFleet("/nowhere/fleet.yaml")
	g.Expect(err).To(MatchError(ContainSubstring("the fleet cannot be read: open /nowhere/fleet.yaml")))
	g.Expect(hubemulator.ReadFleet(fleetFile(t, "# a comment\n---\ndevices:\n- id: a\n"))).To(HaveField("Devices", HaveLen(1)))
}

// A fleet that breaks a rule is refused whole, and the error says where.
func TestRefusedFleets(t *testing.T) {
	t.Parallel()
	const badName = "Property or Tag name has invalid characters. Error in Property/Tag"
	long := strings.Repeat("v", 4000)
	tooMuch := `{a: ` + long + `, b: ` + long + `, c: ` + long + `}`
	farTooMuch := `{d: ` + tooMuch + `, e: ` + tooMuch + `, f: ` + tooMuch + `}`
	for name, tt := range map[string]struct{ device, refusal string }{
		"an id":                     {`{id: a b}`, `device "a b": ArgumentInvalid (400004): The device id should be`},
		"no id":                     {`{status: enabled}`, `device "": ArgumentInvalid (400004): The device id should be`},
		"a status":                  {`{id: a, status: asleep}`, `device "a": ArgumentInvalid (400004): 'status' should be`},
		"a reason":                  {`{id: a, statusReason: ` + strings.Repeat("r", 129) + `}`, `device "a": ArgumentInvalid (400004): 'statusReason' should be`},
		"a name in tags":            {`{id: a, tags: {b.c: 1}}`, `device "a": tags: ArgumentInvalid (400004): ` + badName + " b.c"},
		"a name in desired":         {`{id: a, desired: {$version: 1}}`, `device "a": desired: ArgumentInvalid (400004): ` + badName + " $version"},
		"a value in reported":       {`{id: a, reported: {b: [null]}}`, `device "a": reported: ArgumentInvalid (400004): Property or Tag value in an array should not be null`},
		"a number":                  {`{id: a, tags: {b: 4503599627370496}}`, `device "a": tags: ArgumentInvalid (400004): Property or Tag integer value`},
		"a module's tags":           {`{id: a, modules: [{id: m, tags: {b.c: 1}}]}`, `device "a", module "m": tags: ArgumentInvalid (400004): ` + badName},
		"the size of tags":          {`{id: a, tags: ` + tooMuch + `}`, `device "a": DeviceModelMaxPropertiesExceeded (403100): 'Tags' size should be less than 8192 bytes`},
		"the size of desired":       {`{id: a, desired: ` + farTooMuch + `}`, `'Properties.Desired' size should be less than 32768 bytes`},
		"the size of reported":      {`{id: a, reported: ` + farTooMuch + `}`, `'Properties.Reported' size should be less than 32768 bytes`},
		"one of many":               {`{id: "a-{{n}}", count: 100, tags: {b: "` + strings.Repeat("v", 4094) + `{{n}}"}}`, `device "a-100"` /* not 2 to 99 */ + `: tags: `},
		"keys":                      {`{id: a, authentication: {symmetricKey: {primaryKey: AAAA}}}`, `'authentication.symmetricKey' should have both keys`},
		"keys and thumbprints":      {`{id: a, authentication: {symmetricKey: {primaryKey: AAAA}, x509Thumbprint: {primaryThumbprint: AA}}}`, `device "a": authentication: it should have a symmetricKey or an x509Thumbprint, not both`},
		"keys of an authority":      {`{id: a, authentication: {type: certificateAuthority, symmetricKey: {primaryKey: AAAA}}}`, `authentication.symmetricKey: it is for the type "sas" only`},
		"thumbprints of keys":       {`{id: a, authentication: {type: sas, x509Thumbprint: {primaryThumbprint: AA}}}`, `authentication.x509Thumbprint: it is for the type "selfSigned" only`},
		"a type":                    {`{id: a, authentication: {type: password}}`, `device "a": ArgumentInvalid (400004): 'authentication.type' should be one of`},
		"a module's authentication": {`{id: a, modules: [{id: m, authentication: {type: sas, x509Thumbprint: {primaryThumbprint: AA}}}]}`, `device "a": module "m": authentication.x509Thumbprint`},
		"a count without a place":   {`{id: a, count: 2}`, `device "a": id: it should have {{n}} in it, since there is a count`},
		"a place without a count":   {`{id: "a-{{n}}"}`, `device "a-{{n}}": count: it should be there, since the id has {{n}} in it`},
		"a negative count":          {`{id: "a-{{n}}", count: -1}`, `count: it should be 1 or more`},
		"too many of a kind":        {`{id: "a-{{n}}", count: 1000001}`, `a hub has room for 1000000 devices and modules`},
		"too many together":         {`{id: "a-{{n}}", count: 500000, modules: [{id: m}]}`, `a hub has room for 1000000 devices and modules`},
		"a module without an id":    {`{id: a, modules: [{}]}`, `device "a": modules: each should have an id`},
		"a system module":           {`{id: a, iotEdge: true, modules: [{id: $edgeAgent}]}`, `device "a": module "$edgeAgent": id: it should not start with '$'`},
		"an id twice":               {`{id: same}`, `device "same": id: it is there twice`},
		"of another option":         {`{id: other}`, `device "other": id: it is there twice`},
		"a module twice":            {`{id: a, modules: [{id: m}, {id: m}]}`, `device "a", module "m": id: it is there twice`},
		"no such parent":            {`{id: a, parent: absent}`, `device "a": parent: device "absent": there is no such device`},
		"no edge device":            {`{id: a, parent: same}`, `device "a": parent: device "same" should be an edge device`},
		"its own parent":            {`{id: a, iotEdge: true, parent: a}`, `device "a": parent: the parents go round in a circle`},
		"a circle":                  {`{id: a, iotEdge: true, parent: b}, {id: b, iotEdge: true, parent: a}`, `device "a": parent: the parents go round in a circle`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			path, dir := fleetFile(t, "devices: [{id: same}, "+tt.device+"]"), t.TempDir()
			fleet, err := hubemulator.ReadFleet(path)
			g.Expect(err).NotTo(HaveOccurred())
			_, err = hubemulator.Start(t.Context(), hubemulator.Options{Fleet: fleet, DataDir: dir, Devices: []string{"other"}})
			g.Expect(err).To(MatchError(And(HavePrefix(path+": "), ContainSubstring(tt.refusal))))
			g.Expect(filepath.Join(dir, "state.jsonl")).NotTo(BeAnExistingFile())
		})
	}
}

// A fleet may be written in Go, with values of any kind that is JSON.
func TestFleetInGo(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHubWith(t, hubemulator.Options{Fleet: &hubemulator.Fleet{Devices: []hubemulator.FleetDevice{{
		ID: "d1", Tags: map[string]any{"at": time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), "n": 3, "list": []string{"a"}},
	}}}})
	g.Expect(h.ok(t, http.MethodGet, "/twins/d1", "")["tags"]).To(Equal(object{
		"at": "2026-11-20T00:00:00Z", "n": jsonNumber("3"), "list": []any{"a"},
	}))
	_, err := hubemulator.Start(t.Context(), hubemulator.Options{Fleet: &hubemulator.Fleet{Devices: []hubemulator.FleetDevice{{
		ID: "d1", Desired: map[string]any{"f": func() {}},
	}}}})
	g.Expect(err).To(MatchError(`the fleet: device "d1": desired: json: unsupported type: func()`))
}

func TestFleetIsNotImportedTwice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	withFleet := func(devices ...hubemulator.FleetDevice) func(*hubemulator.Options) {
		return func(o *hubemulator.Options) { o.Fleet = &hubemulator.Fleet{Devices: devices} }
	}
	module := hubemulator.FleetModule{ID: "m1"}
	opts := hubemulator.Options{DataDir: dir}
	withFleet(hubemulator.FleetDevice{ID: "edge", IotEdge: true}, hubemulator.FleetDevice{ID: "d1", Tags: map[string]any{"a": 1}})(&opts)
	h := startHubWith(t, opts)
	h.ok(t, http.MethodPatch, "/twins/d1", `{"tags":{"a":2}}`)
	before := h.everything(t, "d1", "edge")

	h = h.restart(t, dir, withFleet(
		hubemulator.FleetDevice{ID: "d1", Tags: map[string]any{"a": 3}, Modules: []hubemulator.FleetModule{module}},
		hubemulator.FleetDevice{ID: "d2", Parent: "edge"}))
	g.Expect(h.everything(t, "d1", "edge")).To(Equal(before))
	h.ok(t, http.MethodGet, "/twins/d1/modules/m1", "")
	h.ok(t, http.MethodGet, "/twins/d2", "")

	text, err := os.ReadFile(filepath.Join(dir, "connections.json"))
	g.Expect(err).NotTo(HaveOccurred())
	var connections hubemulator.Connections
	g.Expect(json.Unmarshal(text, &connections)).To(Succeed())
	g.Expect(connections.Devices).To(HaveLen(3))
	g.Expect(connections.Modules).To(Equal(map[string]string{"d1/m1": must(h.server.ModuleConnectionString("d1", "m1"))}))
}

const tenThousand = `
devices:
- id: device-{{n}}
  count: 10000
  tags: {location: {plant: Redmond43, floor: 3}, serial: "{{n}}"}
  desired: {power_level: 1, telemetry: {interval: 30, unit: s}}
  reported: {connectivity: {type: cellular}, firmware: 1.2.3}
`

// It takes the processor's time, which does not depend on what else the machine
// does. For that, no other test may run meanwhile: it is not parallel.
func TestFleetOfTenThousand(t *testing.T) {
	g := NewWithT(t)
	limit := 2 * time.Second
	if raceDetector {
		limit *= 10
	}
	before := processorTime(t)
	h := startFleet(t, tenThousand)
	took := processorTime(t) - before
	t.Logf("10,000 devices in %s", took)
	g.Expect(took).To(BeNumerically("<", limit))
	g.Expect(h.ok(t, http.MethodGet, "/statistics/devices", "")["totalDeviceCount"]).To(Equal(jsonNumber("10000")))
	h.ok(t, http.MethodGet, "/twins/device-10000", "")
}

// processorTime is what the test's process has used of all processors so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	NewWithT(t).Expect(syscall.Getrusage(syscall.RUSAGE_SELF, &usage)).To(Succeed())
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkFleetOfTenThousand(b *testing.B) {
	path := filepath.Join(b.TempDir(), "fleet.yaml")
	if err := os.WriteFile(path, []byte(tenThousand), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		server, err := hubemulator.Start(b.Context(), hubemulator.Options{Fleet: must(hubemulator.ReadFleet(path))})
		if err != nil {
			b.Fatal(err)
		}
		if err := server.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// The example of the documentation is a fleet.
func TestDocumentedFleet(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	page, err := os.ReadFile("../docs/emulator.md")
	g.Expect(err).NotTo(HaveOccurred())
	_, example, found := strings.Cut(string(page), "```yaml\n")
	example, _, closed := strings.Cut(example, "```")
	g.Expect(found && closed).To(BeTrue())
	h := startFleet(t, example)
	g.Expect(h.ok(t, http.MethodGet, "/statistics/devices", "")["totalDeviceCount"]).To(Equal(jsonNumber("1003")))
	g.Expect(at(h.ok(t, http.MethodGet, "/twins/device-1000", ""), "tags", "serial")).To(Equal("no-1000"))
}

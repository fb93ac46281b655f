package configuration_test

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
)

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var decoded T
	if err := json.Unmarshal([]byte(text), &decoded); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return decoded
}

func encode(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCompose(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ranked     string // from the one that wins
		properties string
		whole      bool
		effective  []bool
	}{
		"nothing":                    {`[]`, `null`, false, []bool{}},
		"empty":                      {`[{}]`, `null`, false, []bool{false}},
		"one":                        {`[{"properties.desired.a.b":1,"properties.desired.c":null}]`, `{"a":{"b":1},"c":null}`, false, []bool{true}},
		"side by side":               {`[{"properties.desired.a.b":1},{"properties.desired.a.c":2}]`, `{"a":{"b":1,"c":2}}`, false, []bool{true, true}},
		"equal paths":                {`[{"properties.desired.a":{"x":1}},{"properties.desired.a":{"y":2}}]`, `{"a":{"x":1}}`, false, []bool{true, false}},
		"finer over coarser":         {`[{"properties.desired.a.b":1},{"properties.desired.a":{"b":2,"c":3}}]`, `{"a":{"b":1,"c":3}}`, false, []bool{true, true}},
		"coarser over finer":         {`[{"properties.desired.a":{"c":3}},{"properties.desired.a.b":1}]`, `{"a":{"c":3}}`, false, []bool{true, false}},
		"finer over a scalar":        {`[{"properties.desired.a.b":1},{"properties.desired.a":5}]`, `{"a":{"b":1}}`, false, []bool{true, true}},
		"in part":                    {`[{"properties.desired.a":1},{"properties.desired.a":2,"properties.desired.b":3}]`, `{"a":1,"b":3}`, false, []bool{true, true}},
		"whole":                      {`[{"properties.desired":{"a":1}}]`, `{"a":1}`, true, []bool{true}},
		"whole over all":             {`[{"properties.desired":{"a":1}},{"properties.desired.b":2}]`, `{"a":1}`, true, []bool{true, false}},
		"finer over whole":           {`[{"properties.desired.a.b":1},{"properties.desired":{"a":{"c":2}}}]`, `{"a":{"b":1,"c":2}}`, true, []bool{true, true}},
		"finer beside its own whole": {`[{"properties.desired.a.b":1,"properties.desired.a":{"c":2},"properties.desired.a-b":3}]`, `{"a":{"b":1,"c":2},"a-b":3}`, false, []bool{true}},
		"three":                      {`[{"properties.desired.a":1},{"properties.desired.b":2},{"properties.desired.a":3,"properties.desired.b":4}]`, `{"a":1,"b":2}`, false, []bool{true, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			ranked := decode[[]map[string]any](t, tt.ranked)
			before := encode(t, ranked)
			desired, effective := configuration.Compose(ranked)
			g.Expect(encode(t, desired.Properties)).To(MatchJSON(tt.properties))
			g.Expect(desired.Whole).To(Equal(tt.whole))
			g.Expect(effective).To(Equal(tt.effective))
			g.Expect(encode(t, ranked)).To(Equal(before), "contents are never changed")
		})
	}
}

func TestComposedLeavesNameTheirContent(t *testing.T) {
	t.Parallel()
	for ranked, by := range map[string]map[string]int{
		`[{}]`: {},
		`[{"properties.desired.a.b":1,"properties.desired.c":[{"d":1}]}]`:                              {"a.b": 0, "c": 0},
		`[{"properties.desired.a.b":1},{"properties.desired.a":{"b":2,"c":{"d":3}}}]`:                  {"a.b": 0, "a.c.d": 1},
		`[{"properties.desired.a":{"c":3}},{"properties.desired.a.b":1,"properties.desired.e":{}}]`:    {"a.c": 0, "e": 1},
		`[{"properties.desired.a.b.c":1},{"properties.desired.a":{"b":5,"d":6}}]`:                      {"a.b.c": 0, "a.d": 1},
		`[{"properties.desired.b":1},{"properties.desired":{"a":1,"b":2}},{"properties.desired.c":3}]`: {"a": 1, "b": 0},
	} {
		desired, _ := configuration.Compose(decode[[]map[string]any](t, ranked))
		NewWithT(t).Expect(desired.By).To(Equal(by), ranked)
	}
}

func TestRank(t *testing.T) {
	t.Parallel()
	at := func(id string, priority int32, second int) configuration.Configuration {
		return configuration.Configuration{
			ID: id, Spec: configuration.Spec{Priority: priority}, Created: time.Date(2026, 11, 20, 0, 0, second, 0, time.UTC),
		}
	}
	all := []configuration.Configuration{at("older", 1, 1), at("z", 1, 2), at("a", 1, 2), at("highest", 2, 0), at("lowest", 0, 9)}
	configuration.Rank(all)
	ids := make([]string, 0, len(all))
	for _, c := range all {
		ids = append(ids, c.ID)
	}
	NewWithT(t).Expect(ids).To(Equal([]string{"highest", "a", "z", "older", "lowest"}))
}

func TestComposeEdgeWithoutABase(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	layers := decode[[]configuration.Content](t, `[{"modulesContent":{"$edgeAgent":{"properties.desired.modules.a":{}}}}]`)
	modules, effective := configuration.ComposeEdge(layers)
	g.Expect(modules).To(BeEmpty())
	g.Expect(effective).To(Equal([]bool{false}))
}

package query_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// aggregated runs an aggregating query over twins given as JSON, and returns
// its rows.
func aggregated(t *testing.T, text string, docs ...string) []map[string]any {
	t.Helper()
	parsed, err := query.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if !parsed.Aggregates() {
		t.Fatalf("%s does not aggregate", text)
	}
	collected := parsed.Aggregation()
	for _, doc := range docs {
		var twin query.Object
		decoder := json.NewDecoder(strings.NewReader(doc))
		decoder.UseNumber()
		if err := decoder.Decode(&twin); err != nil {
			t.Fatal(err)
		}
		if parsed.Selects(twin) {
			collected.Add(twin)
		}
	}
	rows := []map[string]any{}
	for _, group := range collected.Groups() {
		rows = append(rows, group.Row)
	}
	return rows
}

func TestAggregates(t *testing.T) {
	t.Parallel()
	type row = map[string]any
	fleet := []string{
		`{"deviceId":"a","status":"enabled","tags":{"floor":2,"room":"x"},"properties":{"reported":{"t":20.5}}}`,
		`{"deviceId":"b","status":"enabled","tags":{"floor":1,"room":"x"},"properties":{"reported":{"t":-4}}}`,
		`{"deviceId":"c","status":"disabled","tags":{"floor":2.0,"room":"y"},"properties":{"reported":{"t":"warm"}}}`,
		`{"deviceId":"d","status":"enabled","tags":{"floor":null},"properties":{"reported":{}}}`,
		`{"deviceId":"e","status":"enabled"}`,
	}
	for text, want := range map[string][]row{
		// One row for all, even for none.
		`SELECT COUNT() AS total FROM devices`:                           {{"total": 5}},
		`SELECT COUNT() AS total FROM devices WHERE status = 'disabled'`: {{"total": 1}},
		`SELECT COUNT() AS total FROM devices WHERE status = 'other'`:    {{"total": 0}},

		// Without an alias, a result is called by its position.
		`SELECT COUNT(), COUNT() AS n, AVG(tags.floor) FROM devices`: {{"$1": 5, "n": 5, "$3": 5.0 / 3}},

		// What is no number has no part in AVG and SUM.
		`SELECT SUM(tags.floor) AS s, AVG(properties.reported.t) AS a FROM devices`: {{"s": 5.0, "a": 8.25}},
		// MIN and MAX order types, and keep the value as it is stored.
		`SELECT MIN(properties.reported.t) AS l, MAX(properties.reported.t) AS m FROM devices`: {{"l": json.Number("-4"), "m": "warm"}},
		`SELECT MIN(tags.floor) AS l, MAX(tags.floor) AS m, MAX(tags) AS o FROM devices`:       {{"l": nil, "m": json.Number("2")}},
		`SELECT MIN(deviceId) AS l, MAX(DEVICEID) AS m FROM devices`:                           {{"l": "a", "m": "e"}},
		// There is no result of nothing.
		`SELECT SUM(tags.no) AS s, AVG(tags.no) AS a, MIN(tags.no) AS l, MAX(tags.no) AS m FROM devices`: {{}},
		`SELECT AVG(deviceId) AS a, COUNT() AS n FROM devices`:                                           {{"n": 5}},

		// Groups come in the order of their values; numbers are one however they are spelled.
		`SELECT tags.floor AS floor, COUNT() AS n FROM devices GROUP BY tags.floor`: {
			{"n": 1}, {"floor": nil, "n": 1}, {"floor": json.Number("1"), "n": 1}, {"floor": json.Number("2"), "n": 2},
		},
		`SELECT COUNT() AS n, status, room_ FROM devices GROUP BY status, room_`: {
			{"status": "disabled", "n": 1}, {"status": "enabled", "n": 4},
		},
		`select Status, tags.room, count() as n, sum(tags.floor) as s from devices where is_defined(tags) group by devices.STATUS, tags.room`: {
			{"status": "disabled", "room": "y", "n": 1, "s": 2.0}, {"status": "enabled", "n": 1}, {"status": "enabled", "room": "x", "n": 2, "s": 3.0},
		},
		// Not every property behind GROUP BY has to be selected, nor an aggregate.
		`SELECT COUNT() AS n FROM devices GROUP BY tags.room`: {{"n": 2}, {"n": 2}, {"n": 1}},
		`SELECT status FROM devices GROUP BY status`:          {{"status": "disabled"}, {"status": "enabled"}},
		// No twins, no groups.
		`SELECT status FROM devices WHERE false GROUP BY status`: {},
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			NewWithT(t).Expect(aggregated(t, text, fleet...)).To(Equal(want))
		})
	}
}

func TestSumBeyondNumbersIsMissing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	parsed, err := query.Parse(`SELECT SUM(a) AS s, AVG(a) AS m, COUNT() AS n FROM devices`)
	g.Expect(err).NotTo(HaveOccurred())
	collected := parsed.Aggregation()
	collected.Add(query.Object{"a": math.MaxFloat64})
	collected.Add(query.Object{"a": math.MaxFloat64})
	g.Expect(collected.Groups()[0].Row).To(Equal(map[string]any{"n": 2}))
}

func TestCanonicalAggregates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`select count(), avg(TAGS.a) as [[mean]] from devices`:                  `SELECT COUNT(), AVG(tags.a) AS mean FROM devices`,
		`SELECT Min ( a ) , MAX(b)FROM devices`:                                 `SELECT MIN(a), MAX(b) FROM devices`,
		`SELECT TOP 2 tags.[[group]] FROM devices group  by tags.[[group]]`:     `SELECT TOP 2 tags.[[group]] FROM devices GROUP BY tags.[[group]]`,
		`select status from devices where a=1 GROUP BY Status,devices.tags.b`:   `SELECT status FROM devices WHERE a = 1 GROUP BY status, tags.b`,
		`SELECT tags.count, SUM(tags.min) FROM devices GROUP BY tags.count`:     `SELECT tags.count, SUM(tags.min) FROM devices GROUP BY tags.count`,
		`SELECT sum, COUNT() FROM devices.modules GROUP BY devices.modules.sum`: `SELECT sum, COUNT() FROM devices.modules GROUP BY sum`,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			parsed, err := query.Parse(text)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(parsed.String()).To(Equal(want))
		})
	}
}

// Values that the language takes for equal, and only those, share a group.
func TestGroupsAreByValue(t *testing.T) {
	t.Parallel()
	parsed, err := query.Parse(`SELECT COUNT() AS n FROM devices GROUP BY v`)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	long := strings.Repeat("x", 4000)
	distinct := [][]any{ // each line is one group, in this order
		{nil},
		{false},
		{true},
		{-1e300},
		{-1.0, json.Number("-1"), json.Number("-10e-1")},
		{math.Copysign(0, -1), 0, json.Number("0.0")},
		{1.5}, {2.0, int64(2)},
		{""}, {"\x00"}, {"\x00a"}, {"a"}, {"a\x00"}, {"a\x00\x00"}, {"ab"}, {long},
		{[]any{}}, {[]any{"a", "b"}}, {[]any{"a,b"}}, {[]any{"ab"}}, {[]any{[]any{"a"}, "b"}},
		{map[string]any{}}, {map[string]any{"a": 1.0, "b": 2.0}, map[string]any{"b": json.Number("2"), "a": json.Number("1.0")}}, {map[string]any{"a": 2.0}},
	}
	g := NewWithT(t)
	collected := parsed.Aggregation()
	var keys []string
	for _, group := range distinct {
		alone := parsed.Aggregation()
		for _, value := range group {
			collected.Add(query.Object{"v": value})
			alone.Add(query.Object{"v": value})
		}
		g.Expect(alone.Groups()).To(HaveLen(1), "%v", group)
		keys = append(keys, alone.Groups()[0].Key)
	}
	g.Expect(collected.Groups()).To(HaveLen(len(distinct)))
	g.Expect(slices.IsSorted(keys)).To(BeTrue(), "%q", keys)
	for _, key := range keys {
		g.Expect(len(key)).To(BeNumerically("<=", 256))
	}

	one, two := parsed.Aggregation(), parsed.Aggregation()
	one.Add(query.Object{"v": long + "a"})
	two.Add(query.Object{"v": long + "b"})
	g.Expect(one.Groups()[0].Key).NotTo(Equal(two.Groups()[0].Key), "long values differ in their hash")
}

// Two group keys are never confused, whatever the values in them.
func TestSeveralGroupValuesDoNotRunTogether(t *testing.T) {
	t.Parallel()
	parsed, err := query.Parse(`SELECT a, b FROM devices GROUP BY a, b`)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	collected := parsed.Aggregation()
	collected.Add(query.Object{"a": "x\x00\x06y", "b": "z"})
	collected.Add(query.Object{"a": "x", "b": "y\x00\x06z"})
	NewWithT(t).Expect(collected.Groups()).To(HaveLen(2))
	text := rapid.StringOfN(rapid.RuneFrom([]rune{0, 1, 6, 'a', 255}), 0, 3, -1)
	rapid.Check(t, func(t *rapid.T) {
		one := query.Object{"a": text.Draw(t, "a"), "b": text.Draw(t, "b")}
		two := query.Object{"a": text.Draw(t, "other a"), "b": text.Draw(t, "other b")}
		collected := parsed.Aggregation()
		collected.Add(one)
		collected.Add(two)
		same := one["a"] == two["a"] && one["b"] == two["b"]
		if (len(collected.Groups()) == 1) != same {
			t.Fatalf("%q and %q", one, two)
		}
	})
}

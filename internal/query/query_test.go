package query_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestSelect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text      string
		canonical string
		row       map[string]any
		selected  bool
	}{
		{
			`select DeviceId, tags.location.plant, properties.reported.temperature as temp from devices`,
			`SELECT deviceId, tags.location.plant, properties.reported.temperature AS temp FROM devices`,
			map[string]any{"deviceId": "thermostat-1", "plant": "Redmond43", "temp": -20.5}, true,
		},
		{
			`SELECT devices.deviceId, tags.missing FROM devices WHERE devices.tags.location.region = 'US'`,
			`SELECT deviceId, tags.missing FROM devices WHERE tags.location.region = 'US'`,
			map[string]any{"deviceId": "thermostat-1"}, true,
		},
		{
			`SELECT tags.location AS [[where]], status FROM devices`,
			`SELECT tags.location AS [[where]], status FROM devices`,
			map[string]any{"where": map[string]any{"region": "US", "plant": "Redmond43"}, "status": "enabled"}, true,
		},
		{
			`SELECT TOP 5 deviceId FROM devices.modules WHERE tags.location.region = 'DE'`,
			`SELECT TOP 5 deviceId FROM devices.modules WHERE tags.location.region = 'DE'`,
			nil, false,
		},
	} {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			parsed, err := query.Parse(tt.text)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(parsed.SelectsTwins()).To(BeFalse())
			row, selected := parsed.Select(document(t))
			g.Expect(selected).To(Equal(tt.selected))
			g.Expect(row).To(Equal(tt.row))
			g.Expect(parsed.String()).To(Equal(tt.canonical))
		})
	}
}

func TestSelectTwins(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	parsed, err := query.Parse(`SELECT TOP 3 * FROM DEVICES WHERE Version >= 7`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parsed.SelectsTwins()).To(BeTrue())
	g.Expect(parsed.Modules()).To(BeFalse())
	g.Expect(parsed.Top()).To(Equal(3))
	g.Expect(parsed.String()).To(Equal(`SELECT TOP 3 * FROM devices WHERE version >= 7`))
	row, selected := parsed.Select(document(t))
	g.Expect(selected).To(BeTrue())
	g.Expect(row).To(Equal(document(t)))
}

func TestCount(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	parsed, err := query.Parse(`SELECT COUNT() AS total, count() FROM devices WHERE tags.a = 1`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parsed.Aggregates()).To(BeTrue())
	docs := []map[string]any{
		{"tags": map[string]any{"a": 1.0}}, {"tags": map[string]any{"a": 2.0}}, {}, {"tags": map[string]any{"a": 1.0}},
	}
	g.Expect(parsed.Aggregate(slices.Values(docs))).To(Equal(map[string]any{"total": 2, "$2": 2}))
	_, selected := parsed.Select(docs[0])
	g.Expect(selected).To(BeFalse(), "an aggregate has no row per twin")
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	for text, problem := range map[string]string{
		``:                                      "expected SELECT",
		`SELECT`:                                "expected the name of a property",
		`SELECT *`:                              "expected FROM",
		`SELECT * FROM`:                         "expected devices or devices.modules after FROM",
		`SELECT * FROM twins`:                   "expected devices or devices.modules after FROM",
		`SELECT * FROM devices.jobs`:            "devices.jobs is not supported",
		`SELECT * FROM devices d`:               "expected WHERE",
		`SELECT * FROM devices WHERE`:           "found the end of the text",
		`SELECT *, deviceId FROM devices`:       "expected FROM",
		`SELECT TOP 0 * FROM devices`:           "above 0 after TOP",
		`SELECT TOP x * FROM devices`:           "above 0 after TOP",
		`SELECT deviceId AS FROM devices`:       "expected a name after AS",
		`SELECT AVG(tags.a) FROM devices`:       "AVG is not supported",
		`SELECT LOWER(tags.a) FROM devices`:     "unknown function",
		`SELECT COUNT(x) FROM devices`:          "after COUNT(",
		`SELECT COUNT(), deviceId FROM devices`: "cannot be selected together",
		`SELECT status, COUNT() FROM devices GROUP BY status`: "cannot be selected together",
		`SELECT status FROM devices GROUP BY status`:          "GROUP BY is not supported",
		`SELECT * FROM devices ORDER BY deviceId`:             "ORDER is not part",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			_, err := query.Parse(text)
			g.Expect(err).To(BeAssignableToTypeOf(&query.SyntaxError{}))
			g.Expect(err).To(MatchError(ContainSubstring(problem)))
		})
	}
}

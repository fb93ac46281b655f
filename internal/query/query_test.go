package query_test

import (
	"strings"
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
			twin := query.Object(document(t))
			g.Expect(parsed.Selects(twin)).To(Equal(tt.selected))
			if tt.selected {
				g.Expect(parsed.Row(twin)).To(Equal(tt.row))
			}
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
	g.Expect(parsed.Aggregates()).To(BeFalse())
	g.Expect(parsed.Modules()).To(BeFalse())
	g.Expect(parsed.Top()).To(Equal(3))
	g.Expect(parsed.String()).To(Equal(`SELECT TOP 3 * FROM devices WHERE version >= 7`))
	g.Expect(parsed.Selects(query.Object(document(t)))).To(BeTrue())
	g.Expect(parsed.Selects(query.Object{"version": 6.0})).To(BeFalse())
}

func TestSelectModules(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	parsed, err := query.Parse(`select devices.modules.moduleid from Devices.Modules where devices.modules.DeviceId = 'a'`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parsed.Modules()).To(BeTrue())
	g.Expect(parsed.String()).To(Equal(`SELECT moduleId FROM devices.modules WHERE deviceId = 'a'`))
}

func TestSelectJobs(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	parsed, err := query.Parse(`select top 9 * from Devices.Jobs where devices.jobs.jobid = 'j' and STATUS = 'completed' and outcome.[[devicemethodresponse]].status >= 400`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parsed.Jobs()).To(BeTrue())
	g.Expect(parsed.Modules()).To(BeFalse())
	g.Expect(parsed.SelectsTwins()).To(BeTrue())
	g.Expect(parsed.Aggregates()).To(BeFalse())
	g.Expect(parsed.Top()).To(Equal(9))
	g.Expect(parsed.String()).To(Equal(`SELECT TOP 9 * FROM devices.jobs WHERE jobId = 'j' AND status = 'completed' AND outcome.devicemethodresponse.status >= 400`))
	row := query.Object{"jobId": "j", "status": "completed", "outcome": map[string]any{"devicemethodresponse": map[string]any{"status": 404}}}
	g.Expect(parsed.Selects(row)).To(BeTrue())
	row["jobId"] = "other"
	g.Expect(parsed.Selects(row)).To(BeFalse())
}

// A collection in front of a path goes away once, and only the query's own.
func TestNamesOfCollections(t *testing.T) {
	t.Parallel()
	for text, canonical := range map[string]string{
		`SELECT * FROM devices WHERE devices.devices.a = 1`:           `SELECT * FROM devices WHERE devices.devices.a = 1`,
		`SELECT * FROM devices WHERE devices.devices.modules.a = 1`:   `SELECT * FROM devices WHERE devices.devices.modules.a = 1`,
		`SELECT * FROM devices WHERE devices.jobs.jobID = 1`:          `SELECT * FROM devices WHERE jobs.jobID = 1`,
		`SELECT * FROM devices WHERE JOBTYPE = 1 AND TAGS.a = 1`:      `SELECT * FROM devices WHERE JOBTYPE = 1 AND tags.a = 1`,
		`SELECT * FROM devices.jobs WHERE JOBTYPE = 1 AND TAGS.a = 1`: `SELECT * FROM devices.jobs WHERE jobType = 1 AND TAGS.a = 1`,
		`SELECT * FROM devices.jobs WHERE Devices.jobs.jobID = 1`:     `SELECT * FROM devices.jobs WHERE jobId = 1`,
		`SELECT * FROM devices.jobs WHERE devices.jobID = 1`:          `SELECT * FROM devices.jobs WHERE jobId = 1`,
		`SELECT * FROM devices.jobs WHERE devices.modules.a = 1`:      `SELECT * FROM devices.jobs WHERE modules.a = 1`,
		`SELECT * FROM devices.jobs WHERE devices.devices.jobs.a = 1`: `SELECT * FROM devices.jobs WHERE devices.devices.jobs.a = 1`,
		`SELECT * FROM devices.jobs WHERE devices.jobs = 1`:           `SELECT * FROM devices.jobs WHERE jobs = 1`,
		`SELECT [[devices]].devices.a FROM devices.modules`:           `SELECT devices.devices.a FROM devices.modules`,
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			parsed, err := query.Parse(text)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(parsed.String()).To(Equal(canonical))
			again, err := query.Parse(canonical)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(again.String()).To(Equal(canonical))
		})
	}
}

func TestConfigurationStatusIsAPath(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	parsed, err := query.Parse(`select deviceId from devices where configurations.[[my-config+1]].status = 'Applied'`)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(parsed.Selects(query.Object(document(t)))).To(BeFalse())
	g.Expect(parsed.Selects(query.Object{"configurations": map[string]any{
		"my-config+1": map[string]any{"status": "Applied"},
	}})).To(BeTrue())
}

func TestQueryErrors(t *testing.T) {
	t.Parallel()
	for text, problem := range map[string]string{
		``:                                    "expected SELECT",
		`SELECT`:                              "expected the name of a property",
		`SELECT *`:                            "expected FROM",
		`SELECT * FROM`:                       "expected devices, devices.modules or devices.jobs after FROM",
		`SELECT * FROM twins`:                 "expected devices, devices.modules or devices.jobs after FROM",
		`SELECT * FROM devices.jobs.a`:        "expected devices, devices.modules or devices.jobs after FROM",
		`SELECT * FROM devices d`:             "expected WHERE, GROUP BY",
		`SELECT * FROM devices WHERE`:         "found the end of the text",
		`SELECT * FROM devices WHERE a b`:     "expected AND, OR, GROUP BY",
		`SELECT *, deviceId FROM devices`:     "expected FROM",
		`SELECT DISTINCT a FROM devices`:      `expected FROM, found "a"`,
		`SELECT TOP 0 * FROM devices`:         "above 0 after TOP",
		`SELECT TOP -1 * FROM devices`:        "above 0 after TOP",
		`SELECT TOP 1.5 * FROM devices`:       "above 0 after TOP",
		`SELECT TOP x * FROM devices`:         "above 0 after TOP",
		`SELECT deviceId AS FROM devices`:     "expected a name after AS",
		`SELECT deviceId AS 'a' FROM devices`: "expected a name after AS",
		`SELECT LOWER(tags.a) FROM devices`:   `unknown function "LOWER"; COUNT(), AVG, SUM, MIN and MAX can be selected`,
		`SELECT COUNT(x) FROM devices`:        "after COUNT(, which takes no property",
		`SELECT COUNT(*) FROM devices`:        "after COUNT(, which takes no property",
		`SELECT AVG() FROM devices`:           "expected the name of a property",
		`SELECT AVG(1) FROM devices`:          "expected the name of a property",
		`SELECT SUM(a, b) FROM devices`:       "after the property of SUM",

		`SELECT COUNT(), deviceId FROM devices`:                "column 17: a property that is selected beside an aggregate",
		`SELECT tags.a, COUNT() FROM devices GROUP BY tags.b`:  "column 8: a property that is selected beside an aggregate",
		`SELECT tags.a FROM devices GROUP BY tags`:             "has to be behind GROUP BY as well",
		`SELECT tags FROM devices GROUP BY tags.a`:             "has to be behind GROUP BY as well",
		`SELECT * FROM devices GROUP BY status`:                "SELECT * has no single row for a group",
		`SELECT status FROM devices GROUP status`:              "expected BY after GROUP",
		`SELECT status FROM devices GROUP BY`:                  "found the end of the text",
		`SELECT status FROM devices GROUP BY status,`:          "found the end of the text",
		`SELECT status FROM devices GROUP BY COUNT()`:          `expected "," or the end of the query, found "("`,
		`SELECT status FROM devices GROUP BY status WHERE a=1`: `expected "," or the end of the query, found "WHERE"`,
		`SELECT status FROM devices GROUP BY status HAVING a`:  "HAVING is not part",
		`SELECT * FROM devices ORDER BY deviceId`:              "ORDER is not part",

		`SELECT jobId FROM devices.jobs`:                     "column 8: devices.jobs knows SELECT * only",
		`SELECT TOP 1 COUNT() FROM devices.jobs`:             "column 14: devices.jobs knows SELECT * only",
		`SELECT * FROM devices.jobs GROUP BY jobId`:          "column 28: devices.jobs knows no GROUP BY",
		`SELECT * FROM devices.jobs WHERE a = 1 GROUP BY a`:  "column 40: devices.jobs knows no GROUP BY",
		`SELECT * FROM devices.jobs d`:                       `expected WHERE or the end of the query, found "d"`,
		`SELECT * FROM devices.jobs WHERE jobId = 'a' jobId`: `expected AND, OR or the end of the query, found "jobId"`,
		`SELECT * FROM devices.jobs ORDER BY jobId`:          "ORDER is not part",

		`SELECT tags.a, properties.desired.a FROM devices`:              `column 16: two columns are called "a"`,
		`SELECT tags.a AS x, COUNT() AS x FROM devices GROUP BY tags.a`: `two columns are called "x"; give one of them another name with AS`,
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

func TestQueryLengthLimit(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const frame = "SELECT * FROM devices WHERE a = ''"
	atLimit := "SELECT * FROM devices WHERE a = '" + strings.Repeat("é", query.MaxLength-len(frame)) + "'"
	_, err := query.Parse(atLimit)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = query.Parse(atLimit + " ")
	g.Expect(err).To(MatchError(ContainSubstring("longer than 8192 characters")))
}

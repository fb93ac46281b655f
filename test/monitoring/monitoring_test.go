// Package monitoring_test holds alerts, runbooks and dashboard against each other, against the
// metrics that there are, and against Prometheus' own tools.
package monitoring_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/controllers"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/monitoring"
)

// page is where a user finds a page of the documentation.
const page = "https://github.com/devicetwin-io/devicetwin-operator/blob/main/docs/"

// TestAlertsFireWhenTheyShould and not otherwise, by promtool.
func TestAlertsFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	promtool := monitoring.Program(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = monitoring.File(t, "config/monitoring")
		out, err := cmd.CombinedOutput()
		g.Expect(err).NotTo(HaveOccurred(), string(out))
	}
}

// TestEveryAlertIsTested in a world in which it fires, and in one in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var file struct {
		Tests []struct {
			Checks []struct {
				Expr    string `json:"expr"`
				Samples []any  `json:"exp_samples"`
			} `json:"promql_expr_test"`
		} `json:"tests"`
	}
	g.Expect(yaml.Unmarshal(read(t, "config/monitoring/rules_test.yaml"), &file)).To(Succeed())
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, check := range test.Checks {
			alert := regexp.MustCompile(`alertname="(\w+)"`).FindStringSubmatch(check.Expr)
			g.Expect(alert).NotTo(BeNil(), check.Expr)
			if len(check.Samples) > 0 {
				fires[alert[1]] = true
			} else {
				silent[alert[1]] = true
			}
		}
	}
	for _, alert := range monitoring.Alerts(t) {
		g.Expect(fires).To(HaveKey(alert.Name))
		g.Expect(silent).To(HaveKey(alert.Name))
	}
}

// TestEveryAlertHasARunbook, and each runbook an alert, which names it.
func TestEveryAlertHasARunbook(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var alerts, pages []string
	for _, alert := range monitoring.Alerts(t) {
		alerts = append(alerts, alert.Name)
		g.Expect(alert.Annotations).To(HaveKeyWithValue("runbook_url", page+"runbooks/"+alert.Name+".md"))
		g.Expect(alert.Annotations["summary"]).To(HaveSuffix("."), alert.Name)
		g.Expect(alert.Annotations["description"]).To(HaveSuffix("."), alert.Name)
		g.Expect(alert.Labels["severity"]).To(BeElementOf("critical", "warning"), alert.Name)
	}
	files, err := filepath.Glob(monitoring.File(t, "docs/runbooks/*.md"))
	g.Expect(err).NotTo(HaveOccurred())
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".md")
		pages = append(pages, name)
		text := string(read(t, "docs/runbooks/"+name+".md"))
		g.Expect(text).To(HavePrefix("# " + name + "\n"))
		g.Expect(regexp.MustCompile(`(?m)^## .+$`).FindAllString(text, -1)).
			To(Equal([]string{"## Meaning", "## Impact", "## Diagnosis", "## Mitigation"}), name)
		_, diagnosis, _ := strings.Cut(text, "## Diagnosis")
		g.Expect(diagnosis).To(ContainSubstring("\n```sh\n"), "%s: commands", name)
	}
	slices.Sort(alerts)
	if diff := cmp.Diff(alerts, pages); diff != "" {
		t.Errorf("alerts and pages of docs/runbooks (-alerts +pages):\n%s", diff)
	}
}

// TestExpressionsNameMetricsThatThereAre, in alerts, panels and runbooks.
func TestExpressionsNameMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	served := servedMetrics(t)
	for where, expressions := range expressions(t) {
		for _, expr := range expressions {
			selectors := monitoring.Selectors(expr)
			if len(selectors) == 0 {
				t.Errorf("%s selects nothing: %s", where, expr)
			}
			for _, selector := range selectors {
				if !served[selector.Metric] && !served[selector.Family()] {
					t.Errorf("%s: no metric is called %s", where, selector.Metric)
				}
			}
		}
	}
	named := regexp.MustCompile(`\b(?:devicetwin|controller_runtime|workqueue|rest_client|leader_election)_[a-z_]+[a-z]\b`)
	files, err := filepath.Glob(monitoring.File(t, "docs/runbooks/*.md"))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	for _, file := range append(files, monitoring.File(t, "docs/monitoring.md")) {
		text, err := os.ReadFile(file)
		NewWithT(t).Expect(err).NotTo(HaveOccurred())
		for _, metric := range named.FindAllString(string(text), -1) {
			if !served[metric] && !served[monitoring.Selector{Metric: metric}.Family()] {
				t.Errorf("%s: no metric is called %s", filepath.Base(file), metric)
			}
		}
	}
}

// servedMetrics are all that a manager can serve.
func servedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	runtime, ok := metrics.Registry.(prometheus.Collector)
	if !ok {
		t.Fatalf("controller-runtime's registry is a %T, which does not describe itself", metrics.Registry)
	}
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		for _, collector := range []prometheus.Collector{hub.NewMetrics(), controllers.NewMetrics(), runtime} {
			collector.Describe(descriptions)
		}
	}()
	served := map[string]bool{}
	for description := range descriptions {
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(description.String())
		if name == nil {
			t.Fatalf("%s has no name", description)
		}
		served[name[1]] = true
	}
	return served
}

// expressions are those of all alerts and panels, by where they stand.
func expressions(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, alert := range monitoring.Alerts(t) {
		found["alert "+alert.Name] = []string{alert.Expr}
	}
	for _, panel := range monitoring.Panels(t) {
		found["panel "+panel.Title] = panel.Queries
	}
	return found
}

// TestThePrometheusRuleIsTheRulesFile, in config and in the chart.
func TestThePrometheusRuleIsTheRulesFile(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var rules any
	var object struct {
		Spec any `json:"spec"`
	}
	g.Expect(yaml.Unmarshal(read(t, "config/monitoring/rules.yaml"), &rules)).To(Succeed())
	g.Expect(yaml.Unmarshal(read(t, "config/monitoring/prometheusrule.yaml"), &object)).To(Succeed())
	if diff := cmp.Diff(rules, object.Spec); diff != "" {
		t.Errorf("run `make manifests` (-rules.yaml +prometheusrule.yaml):\n%s", diff)
	}
	for _, name := range []string{"rules.yaml", "dashboard.json"} {
		g.Expect(read(t, "charts/devicetwin-operator/files/monitoring/"+name)).
			To(Equal(read(t, "config/monitoring/"+name)), "run `make chart`")
	}
}

// TestTheDashboardIsWhole: panels have a title of their own, a description and queries, which go
// by the dashboard's variables, and do not lie on each other.
func TestTheDashboardIsWhole(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	titles := map[string]bool{}
	for _, panel := range monitoring.Panels(t) {
		g.Expect(titles).NotTo(HaveKey(panel.Title))
		titles[panel.Title] = true
		g.Expect(panel.Row).NotTo(BeEmpty(), panel.Title)
		g.Expect(panel.Description).To(HaveSuffix("."), panel.Title)
		g.Expect(panel.Queries).NotTo(BeEmpty(), panel.Title)
		for _, query := range panel.Queries {
			g.Expect(query).NotTo(ContainSubstring("$"), "%s: a variable that the dashboard does not have", panel.Title)
			for _, selector := range monitoring.Selectors(query) {
				g.Expect(selector.Labels).To(ContainElement("namespace"), panel.Title)
			}
		}
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			GridPos struct{ X, Y, W, H int }
		}
		Templating struct{ List []struct{ Name string } }
	}
	g.Expect(json.Unmarshal(read(t, "config/monitoring/dashboard.json"), &dashboard)).To(Succeed())
	taken := map[[2]int]string{}
	for _, panel := range dashboard.Panels {
		at := panel.GridPos
		g.Expect(at.X+at.W).To(BeNumerically("<=", 24), panel.Title)
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				g.Expect(taken[[2]int{x, y}]).To(BeEmpty(), panel.Title)
				taken[[2]int{x, y}] = panel.Title
			}
		}
	}
	var variables []string
	for _, variable := range dashboard.Templating.List {
		variables = append(variables, variable.Name)
	}
	g.Expect(variables).To(Equal([]string{"datasource", "namespace", "job", "host"}))
}

// TestThePageListsAlertsAndPanels: docs/monitoring.md, in the order of both.
func TestThePageListsAlertsAndPanels(t *testing.T) {
	t.Parallel()
	text := string(read(t, "docs/monitoring.md"))
	var alerts, panels []string
	for _, alert := range monitoring.Alerts(t) {
		alerts = append(alerts, alert.Name)
	}
	for _, panel := range monitoring.Panels(t) {
		panels = append(panels, panel.Row+": "+panel.Title)
	}
	cells := func(row string) (found []string) {
		for _, match := range regexp.MustCompile(row).FindAllStringSubmatch(text, -1) {
			found = append(found, strings.Join(match[1:], ": "))
		}
		return found
	}
	if diff := cmp.Diff(alerts, cells(`(?m)^\| \[(\w+)\]\(runbooks/\w+\.md\) \|`)); diff != "" {
		t.Errorf("alerts and rows (-alerts +rows):\n%s", diff)
	}
	if diff := cmp.Diff(panels, cells(`(?m)^\| (Fleet|Hub and budget|Latency|Errors) \| ([^|]+) \|`)); diff != "" {
		t.Errorf("panels and rows (-panels +rows):\n%s", diff)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(monitoring.File(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Package monitoring has the alerts and the dashboard of config/monitoring for tests, and finds
// Prometheus to run them.
package monitoring

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// Alert is an alerting rule.
type Alert struct {
	Name        string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Panel is one of the dashboard's, in a row of it.
type Panel struct {
	Row, Title, Description string
	// Queries have values in place of the dashboard's variables.
	Queries []string
}

// File is the path of a file of the project.
func File(t testing.TB, path string) string {
	t.Helper()
	root, err := testenv.ProjectRoot()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, filepath.FromSlash(path))
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(File(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Alerts are those of config/monitoring/rules.yaml.
func Alerts(t testing.TB) (alerts []Alert) {
	t.Helper()
	var rules struct {
		Groups []struct {
			Name  string  `json:"name"`
			Rules []Alert `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(read(t, "config/monitoring/rules.yaml"), &rules); err != nil {
		t.Fatalf("rules.yaml: %v", err)
	}
	for _, group := range rules.Groups {
		alerts = append(alerts, group.Rules...)
	}
	if len(alerts) == 0 {
		t.Fatal("rules.yaml holds no alerts")
	}
	return alerts
}

// Panels are those of config/monitoring/dashboard.json.
func Panels(t testing.TB) (panels []Panel) {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Type, Title, Description string
			Targets                  []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "config/monitoring/dashboard.json"), &dashboard); err != nil {
		t.Fatalf("dashboard.json: %v", err)
	}
	values := strings.NewReplacer("$namespace", ".*", "$host", ".*", "$job", ".*", "$__rate_interval", "1m")
	row := ""
	for _, of := range dashboard.Panels {
		if of.Type == "row" {
			row = of.Title
			continue
		}
		panel := Panel{Row: row, Title: of.Title, Description: of.Description}
		for _, target := range of.Targets {
			panel.Queries = append(panel.Queries, values.Replace(target.Expr))
		}
		panels = append(panels, panel)
	}
	if len(panels) == 0 {
		t.Fatal("dashboard.json holds no panels")
	}
	return panels
}

// Program is the path of prometheus or promtool. The test is skipped where there is neither.
func Program(t testing.TB, name string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), File(t, "hack/prometheus.sh"))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Skipf("%v: %s", err, strings.TrimSpace(stderr.String()))
	}
	return filepath.Join(strings.TrimSpace(stdout.String()), name)
}

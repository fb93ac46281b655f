package argocd

import (
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const config = "../../../config/argocd/"

// cases are those of health_test.yaml, a form that Argo CD defines.
type cases struct {
	Tests []struct {
		HealthStatus struct {
			Status  Health `json:"status"`
			Message string `json:"message"`
		} `json:"healthStatus"`
		InputPath string `json:"inputPath"`
	} `json:"tests"`
}

func load(g *WithT, path string, into any) {
	text, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(yaml.UnmarshalStrict(text, into)).To(Succeed(), path)
}

func object(g *WithT, path string) *unstructured.Unstructured {
	text, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	encoded, err := yaml.YAMLToJSON(text)
	g.Expect(err).NotTo(HaveOccurred())
	obj := &unstructured.Unstructured{}
	g.Expect(obj.UnmarshalJSON(encoded)).To(Succeed(), path)
	return obj
}

// TestHealthOfFixtures: each file is listed, and each kind is there in each of its states.
func TestHealthOfFixtures(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var listed cases
	load(g, config+"health_test.yaml", &listed)
	var paths, states []string
	for _, tc := range listed.Tests {
		obj := object(g, config+tc.InputPath)
		health, message, err := HealthOf(obj)
		g.Expect(err).NotTo(HaveOccurred(), tc.InputPath)
		g.Expect(health).To(Equal(tc.HealthStatus.Status), tc.InputPath)
		g.Expect(message).To(Equal(tc.HealthStatus.Message), tc.InputPath)
		paths = append(paths, config+tc.InputPath)
		states = append(states, obj.GetKind()+" "+string(health))
	}
	files, err := filepath.Glob(config + "testdata/*")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(paths).To(ConsistOf(files))
	g.Expect(states).To(ContainElements("DeviceTwin Suspended",
		"HubConnection Healthy", "HubConnection Progressing", "HubConnection Degraded",
		"DeviceTwin Healthy", "DeviceTwin Progressing", "DeviceTwin Degraded",
		"DeviceTwinSet Healthy", "DeviceTwinSet Progressing", "DeviceTwinSet Degraded",
		"TwinQuery Healthy", "TwinQuery Progressing", "TwinQuery Degraded",
	))
}

// TestScriptsThatArgoCDRefuses are refused here too.
func TestScriptsThatArgoCDRefuses(t *testing.T) {
	t.Parallel()
	for script, message := range map[string]string{
		`return "Healthy"`:                               "not a table",
		`return { status = "Fine" }`:                     `"Fine"`,
		`return {}`:                                      "no health",
		`return { status = string.upper("x") }`:          "attempt to index a non-table object(nil) with key 'upper'",
		`return { status = obj.status.phase }`:           "attempt to index a non-table object(nil) with key 'phase'",
		`while true do end`:                              "context deadline exceeded",
		`local f = io.open("/etc/passwd") return {}`:     "attempt to index a non-table object(nil) with key 'open'",
		`if obj.metadata.generation == 1 then x() end`:   "attempt to call a non-function object",
		`if obj.spec.suspend == false then error(7) end`: "7",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			_, _, err := run(script, &unstructured.Unstructured{Object: map[string]any{
				"metadata": map[string]any{"generation": int64(1)}, "spec": map[string]any{"suspend": false},
			}})
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(message)))
		})
	}
}

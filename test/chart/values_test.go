package chart_test

import (
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/yaml"
)

func TestBadValuesAreRefusedWithTheirPath(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"replicas=3":                                 "at '': additional properties 'replicas' not allowed",
		"replicaCount=two":                           "at '/replicaCount': got string, want integer",
		"fleetSize=0":                                "at '/fleetSize': minimum: got 0, want 1",
		"crds.keep=yes please":                       "at '/crds/keep': got string, want boolean",
		"image.pullPolicy=Sometimes":                 "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
		"image.digest=latest":                        "at '/image/digest': 'latest' does not match pattern",
		"webhook.certificate.source=cert-manager":    "at '/webhook/certificate/source': value must be one of 'helm', 'certManager', 'secret'",
		"webhook.certificate.issuerRef.names=ca":     "at '/webhook/certificate/issuerRef': additional properties 'names' not allowed",
		"metrics.serviceMonitor.intervall=30s":       "at '/metrics/serviceMonitor': additional properties 'intervall' not allowed",
		"metrics.readers[0].name=prometheus":         "at '/metrics/readers/0': missing property 'namespace'",
		"shards.managers[0].name=Customer A":         "at '/shards/managers/0/name': 'Customer A' does not match pattern",
		"shards.managers[0].replicas=1":              "at '/shards/managers/0': additional properties 'replicas' not allowed",
		"resources.limits.memory=512mb":              "at '/resources/limits/memory'",
		"resources.limit.memory=512Mi":               "at '/resources': additional properties 'limit' not allowed",
		"watchNamespaces[0]=Plant":                   "at '/watchNamespaces/0': 'Plant' does not match pattern",
		"watchNamespaces=plant-a":                    "at '/watchNamespaces': got string, want array",
		"rbac.createSecret=false":                    "at '/rbac': additional properties 'createSecret' not allowed",
		"networkPolicy.hubCIDRs[0]=azure-devices":    "at '/networkPolicy/hubCIDRs/0': 'azure-devices' does not match pattern",
		"podSecurityContext.privileged=true":         "at '/podSecurityContext': additional properties 'privileged' not allowed",
		"extraEnv[0].key=HTTPS_PROXY":                "at '/extraEnv/0': additional properties 'key' not allowed",
		"extraArgs[0]=workers=3":                     "at '/extraArgs/0': 'workers=3' does not match pattern",
		"proxy.https=proxy.example.com:3128":         "at '/proxy/https': 'proxy.example.com:3128' does not match pattern",
		"topologySpreadConstraints[0].maxSkew=often": "at '/topologySpreadConstraints/0/maxSkew': got string, want integer",
		"devicesim.connectionSecretName=My Device":   "at '/devicesim/connectionSecretName': 'My Device' does not match pattern",
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			_, err := helm(t, "", "template", release, chart, "--set", value)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(want)))
		})
	}
}

func TestAnOldClusterIsToldWhatItTakes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, err := helm(t, "", "template", release, chart, "--kube-version", "1.31.9")
	g.Expect(err).To(MatchError(ContainSubstring("chart requires kubeVersion: >=1.32.0-0 which is incompatible with Kubernetes v1.31.9")))
	for _, version := range []string{"1.32.0", "1.33.4-eks-1ab2c3d", "1.34.1-gke.1200"} {
		_, err := helm(t, "", "template", release, chart, "--kube-version", version)
		g.Expect(err).NotTo(HaveOccurred(), version)
	}
}

// TestEveryValueIsDescribed: the README has a row for each value, empty where
// values.yaml says nothing of it.
func TestEveryValueIsDescribed(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	text, err := os.ReadFile(chart + "/README.md")
	g.Expect(err).NotTo(HaveOccurred())
	_, table, found := strings.Cut(string(text), "\n## Values\n")
	g.Expect(found).To(BeTrue())
	rows := 0
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| ") {
			rows++
			g.Expect(line).NotTo(MatchRegexp(`\|\s*\|\s*$`))
		}
	}
	g.Expect(rows).To(BeNumerically(">", 50))
}

// TestTheChartHasTheProjectsVersion: one file has it, `make chart` puts it here.
func TestTheChartHasTheProjectsVersion(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	text, err := os.ReadFile(root + "/VERSION")
	g.Expect(err).NotTo(HaveOccurred())
	version := strings.TrimSpace(string(text))
	var metadata struct {
		Version     string            `json:"version"`
		AppVersion  string            `json:"appVersion"`
		Annotations map[string]string `json:"annotations"`
	}
	text, err = os.ReadFile(chart + "/Chart.yaml")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(yaml.Unmarshal(text, &metadata)).To(Succeed())
	g.Expect(metadata.Version).To(Equal(version))
	g.Expect(metadata.AppVersion).To(Equal(version))
	g.Expect(strings.Count(metadata.Annotations["artifacthub.io/images"], ":"+version+"\n")).To(Equal(3))
}

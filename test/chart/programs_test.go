package chart_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// TestTheProgramsTakeTheirFlags takes every command line of every example to its program, which
// must know the flags and take their values.
func TestTheProgramsTakeTheirFlags(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	seen := map[string]bool{}
	for name, file := range examples(t) {
		for _, object := range render(t, "--values", file) {
			for _, container := range containers(t, object) {
				program := filepath.Base(container.Command[0])
				seen[program] = true
				// Flags are read in order: one before --help that is wrong is refused. The fleet's file is read
				// with them, in TestTheEmulatorTakesWhatTheChartGives.
				args := slices.DeleteFunc(container.Args, func(arg string) bool { return strings.HasPrefix(arg, "--fleet=") })
				cmd := exec.CommandContext(t.Context(), filepath.Join(programs, program), append(args, "--help")...)
				out, err := cmd.CombinedOutput()
				g.Expect(err).NotTo(HaveOccurred(), "%s: %s %v: %.300s", name, program, container.Args, out)
			}
		}
	}
	g.Expect(seen).To(HaveLen(3), "%v", seen)
}

func containers(t *testing.T, object *unstructured.Unstructured) []corev1.Container {
	t.Helper()
	var spec corev1.PodSpec
	switch object.GetKind() {
	case "Deployment":
		spec = podOf(t, object, namespace).Spec
	case "Pod":
		spec = convert[corev1.Pod](t, object).Spec
	default:
		return nil
	}
	return append(spec.Containers, spec.InitContainers...)
}

// TestTheEmulatorTakesWhatTheChartGives starts a hub with the Secret of the chart; the
// connection strings in the other Secrets have to be its own, ports aside.
func TestTheEmulatorTakesWhatTheChartGives(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	secrets := map[string]map[string]string{}
	for _, object := range render(t, "--values", examples(t)["trial"]) {
		if object.GetKind() == "Secret" {
			var secret corev1.Secret
			g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &secret, true)).To(Succeed())
			secrets[secret.Name] = secret.StringData
		}
	}
	given := secrets["trial-emulator"]
	file := filepath.Join(t.TempDir(), "fleet.yaml")
	g.Expect(os.WriteFile(file, []byte(given["fleet.yaml"]), 0o600)).To(Succeed())
	fleet, err := hubemulator.ReadFleet(file)
	g.Expect(err).NotTo(HaveOccurred())

	hub, err := hubemulator.Start(t.Context(), hubemulator.Options{
		Hostname: "trial-emulator." + namespace + ".svc", Fleet: fleet,
		PolicyKeys:    map[string]string{"iothubowner": given["iothubowner.key"]},
		CACertificate: []byte(given["ca.crt"]), CAKey: []byte(given["ca.key"]),
	})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(hub.Close()).To(Succeed()) })

	service, err := hub.ServiceConnectionString("iothubowner")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(withoutPort(secrets["trial-emulator-hub"]["connectionString"])).To(Equal(withoutPort(service)))
	device, err := hub.DeviceConnectionString("thermostat-1")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(withoutPort(secrets["devicesim-connection"]["connectionString"])).To(Equal(withoutPort(device)))
	for _, name := range []string{"trial-emulator-hub", "devicesim-connection"} {
		g.Expect(secrets[name]["ca.crt"]).To(Equal(string(hub.CACertificatePEM())))
	}
}

// convert refuses fields that T does not have.
func convert[T any](t *testing.T, object *unstructured.Unstructured) *T {
	t.Helper()
	var out T
	NewWithT(t).Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &out, true)).To(Succeed())
	return &out
}

func withoutPort(connectionString string) string {
	return regexp.MustCompile(`:\d+;`).ReplaceAllString(connectionString, ";")
}

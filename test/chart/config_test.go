package chart_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// byName is what both render, as "Kind name". The chart is told to name its
// objects as config/default does.
func byName(objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	out := map[string]*unstructured.Unstructured{}
	for _, object := range objects {
		out[object.GetKind()+" "+object.GetName()] = object
	}
	return out
}

func fromConfig(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	out, err := testenv.Tool("hack/tools/go.mod", "kustomize", "build", "config/default")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return byName(decode(t, out))
}

func fromChart(t *testing.T) map[string]*unstructured.Unstructured {
	t.Helper()
	return byName(render(t, "--skip-tests", "--set", "fullnameOverride=devicetwin", "--set", "webhook.certificate.source=certManager"))
}

// TestChartAndConfigInstallTheSame: what one of them has alone is listed here.
func TestChartAndConfigInstallTheSame(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	config, chart := fromConfig(t), fromChart(t)
	var onlyConfig, onlyChart []string
	for name := range config {
		if chart[name] == nil {
			onlyConfig = append(onlyConfig, name)
		}
	}
	for name := range chart {
		if config[name] == nil {
			onlyChart = append(onlyChart, name)
		}
	}
	g.Expect(onlyConfig).To(ConsistOf("Namespace devicetwin-system"))
	g.Expect(onlyChart).To(ConsistOf("PodDisruptionBudget devicetwin-manager"))
	for name := range config {
		if chart[name] == nil || strings.HasPrefix(name, "Deployment ") {
			continue // TestChartAndConfigRunTheSameManager
		}
		if diff := cmp.Diff(stripped(config[name]), stripped(chart[name])); diff != "" {
			t.Errorf("%s (-config +chart):\n%s", name, diff)
		}
	}
}

// stripped is an object without what says who manages it, and with the API
// server's defaults where only one of both writes them out.
func stripped(object *unstructured.Unstructured) map[string]any {
	content := object.DeepCopy().Object
	metadata := map[string]any{"namespace": object.GetNamespace()}
	labels := map[string]string{}
	for key, value := range object.GetLabels() {
		if strings.HasPrefix(key, "rbac.authorization.k8s.io/") {
			labels[key] = value
		}
	}
	annotations := object.GetAnnotations()
	delete(annotations, "helm.sh/resource-policy")
	metadata["labels"], metadata["annotations"] = labels, fmt.Sprint(annotations)
	content["metadata"] = metadata
	switch object.GetKind() {
	case "Service":
		// Helm's selects one release of several.
		unstructured.RemoveNestedField(content, "spec", "selector", "app.kubernetes.io/instance")
	case "ValidatingWebhookConfiguration":
		for _, webhook := range content["webhooks"].([]any) {
			service := []string{"clientConfig", "service", "port"}
			if port, found, _ := unstructured.NestedFieldNoCopy(webhook.(map[string]any), service...); found && fmt.Sprint(port) == "443" {
				unstructured.RemoveNestedField(webhook.(map[string]any), service...)
			}
		}
	}
	return content
}

// manager is what has to be the same of the two Deployments. Replicas, memory and
// where Pods run are the chart's own matter.
type manager struct {
	Account             string
	Grace               *int64
	NodeSelector        map[string]string
	PodSecurity         *corev1.PodSecurityContext
	Command, Args       []string
	Ports               []corev1.ContainerPort
	Liveness, Readiness *corev1.Probe
	Security            *corev1.SecurityContext
	Mounts              []corev1.VolumeMount
	Volumes             []corev1.Volume
	DefaultContainer    string
}

func managerOf(t *testing.T, object *unstructured.Unstructured) manager {
	t.Helper()
	var deployment appsv1.Deployment
	NewWithT(t).Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &deployment, true)).To(Succeed())
	pod := deployment.Spec.Template.Spec
	NewWithT(t).Expect(pod.Containers).To(HaveLen(1))
	container := pod.Containers[0]
	slices.SortFunc(container.Ports, func(a, b corev1.ContainerPort) int { return strings.Compare(a.Name, b.Name) })
	return manager{
		Account: pod.ServiceAccountName, Grace: pod.TerminationGracePeriodSeconds, NodeSelector: pod.NodeSelector,
		PodSecurity: pod.SecurityContext, Command: container.Command, Args: expand(container), Ports: container.Ports,
		Liveness: container.LivenessProbe, Readiness: container.ReadinessProbe, Security: container.SecurityContext,
		Mounts: container.VolumeMounts, Volumes: pod.Volumes,
		DefaultContainer: deployment.Spec.Template.Annotations["kubectl.kubernetes.io/default-container"],
	}
}

// expand puts the environment into the arguments, as the kubelet does.
func expand(container corev1.Container) []string {
	var variables []string
	for _, variable := range container.Env {
		variables = append(variables, "$("+variable.Name+")", variable.Value)
	}
	args := make([]string, 0, len(container.Args))
	for _, arg := range container.Args {
		args = append(args, strings.NewReplacer(variables...).Replace(arg))
	}
	slices.Sort(args)
	return args
}

func TestChartAndConfigRunTheSameManager(t *testing.T) {
	t.Parallel()
	const name = "Deployment devicetwin-manager"
	config, chart := managerOf(t, fromConfig(t)[name]), managerOf(t, fromChart(t)[name])
	if diff := cmp.Diff(config, chart); diff != "" {
		t.Errorf("the manager (-config +chart):\n%s", diff)
	}
}

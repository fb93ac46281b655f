package config_test

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// find returns the only object of a kind whose name has this suffix, converted.
func find[T any](t *testing.T, objects []*unstructured.Unstructured, kind, suffix string) T {
	t.Helper()
	g := NewWithT(t)
	var found []T
	for _, object := range objects {
		if object.GetKind() != kind || !strings.HasSuffix(object.GetName(), suffix) {
			continue
		}
		var converted T
		g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, &converted, true)).To(Succeed())
		found = append(found, converted)
	}
	g.Expect(found).To(HaveLen(1), "%s …%s", kind, suffix)
	return found[0]
}

// certificate is what the tests read of cert-manager's Certificate.
type certificate struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		SecretName string   `json:"secretName"`
		DNSNames   []string `json:"dnsNames"`
		IssuerRef  struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"issuerRef"`
	} `json:"spec"`
}

// TestTheAPIServerFindsTheWebhooks follows the names that must agree from the
// webhook configuration to the file in the pod, whatever the namespace.
func TestTheAPIServerFindsTheWebhooks(t *testing.T) {
	t.Parallel()
	for dir, namespace := range map[string]string{
		"config/default":               systemNamespace,
		"test/config/testdata/overlay": "plant-operations",
	} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			objects := build(t, dir)
			configuration := find[admissionv1.ValidatingWebhookConfiguration](t, objects, "ValidatingWebhookConfiguration", "validation")
			service := find[corev1.Service](t, objects, "Service", "webhook")
			deployment := find[appsv1.Deployment](t, objects, "Deployment", "manager")
			var issued certificate
			for _, object := range objects {
				if object.GetKind() == "Certificate" {
					g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &issued)).To(Succeed())
				}
			}

			g.Expect(configuration.Webhooks).To(HaveLen(5))
			for _, webhook := range configuration.Webhooks {
				g.Expect(webhook.ClientConfig.Service.Name).To(Equal(service.Name))
				g.Expect(webhook.ClientConfig.Service.Namespace).To(Equal(namespace))
				g.Expect(webhook.FailurePolicy).To(HaveValue(Equal(admissionv1.Ignore)))
				g.Expect(webhook.SideEffects).To(HaveValue(Equal(admissionv1.SideEffectClassNone)))
			}
			g.Expect(service.Namespace).To(Equal(namespace))
			g.Expect(issued.Spec.DNSNames).To(ContainElement(service.Name + "." + namespace + ".svc"))
			g.Expect(configuration.Annotations).To(HaveKeyWithValue("cert-manager.io/inject-ca-from", namespace+"/"+issued.Metadata.Name))
			g.Expect(names(objects)).To(ContainElement(issued.Spec.IssuerRef.Kind + " " + issued.Spec.IssuerRef.Name))

			pod := deployment.Spec.Template
			for key, value := range service.Spec.Selector {
				g.Expect(pod.Labels).To(HaveKeyWithValue(key, value))
			}
			manager := pod.Spec.Containers[0]
			g.Expect(manager.Ports).To(ContainElement(And(
				HaveField("Name", service.Spec.Ports[0].TargetPort.StrVal), HaveField("ContainerPort", BeEquivalentTo(9443)))))
			g.Expect(manager.Args).To(ContainElement("--webhook-cert-dir=$(WEBHOOK_CERT_DIR)"))
			g.Expect(manager.Env).To(ContainElement(corev1.EnvVar{Name: "WEBHOOK_CERT_DIR", Value: manager.VolumeMounts[0].MountPath}))
			g.Expect(pod.Spec.Volumes).To(ContainElement(And(
				HaveField("Name", manager.VolumeMounts[0].Name), HaveField("Secret.SecretName", issued.Spec.SecretName))))
		})
	}
}

func TestWithoutWebhookNothingOfItIsLeft(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	objects := build(t, "test/config/testdata/without-webhook")
	for _, object := range objects {
		g.Expect(object.GetAPIVersion()).NotTo(HavePrefix("cert-manager.io"))
		g.Expect(object.GetKind()).NotTo(Equal("ValidatingWebhookConfiguration"))
		g.Expect(object.GetName()).NotTo(ContainSubstring("webhook"))
	}
	spec := find[appsv1.Deployment](t, objects, "Deployment", "manager").Spec.Template.Spec
	manager := spec.Containers[0]
	g.Expect(manager.Env).To(ContainElement(corev1.EnvVar{Name: "WEBHOOK_CERT_DIR", Value: ""}), "empty is off")
	g.Expect(manager.Ports).NotTo(ContainElement(HaveField("Name", "webhook")))
	g.Expect(manager.VolumeMounts).To(BeEmpty())
	g.Expect(spec.Volumes).To(BeEmpty())
	// Else they are as in config/default.
	g.Expect(len(objects)).To(Equal(len(build(t, "config/default")) - 4))
}

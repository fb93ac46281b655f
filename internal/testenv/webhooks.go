package testenv

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// loopback is where tests serve webhooks.
const loopback = "127.0.0.1"

// Webhooks says where a test has to serve the project's webhooks.
type Webhooks struct {
	// Configuration is the name of the ValidatingWebhookConfiguration.
	Configuration string
	// Address is a free port of the loopback address.
	Address string
	// CertDir holds tls.crt, which the API server trusts, and tls.key.
	CertDir string
}

// InstallWebhooks registers the project's webhooks, config/webhook/manifests.yaml,
// for objects in the given namespaces, so that tests that share one API server do
// not ask each other. The API server takes a moment to notice. They go when the
// test ends.
func (e *Env) InstallWebhooks(t testing.TB, namespaces ...string) Webhooks {
	t.Helper()
	hooks, err := e.installWebhooks(t, namespaces)
	if err != nil {
		t.Fatalf("installing the webhooks: %v", err)
	}
	return hooks
}

func (e *Env) installWebhooks(t testing.TB, namespaces []string) (Webhooks, error) {
	t.Helper()
	root, err := ProjectRoot()
	if err != nil {
		return Webhooks{}, err
	}
	install := envtest.WebhookInstallOptions{
		Paths:            []string{filepath.Join(root, "config", "webhook", "manifests.yaml")},
		LocalServingHost: loopback,
	}
	t.Cleanup(func() {
		if err := install.Cleanup(); err != nil {
			t.Errorf("removing the webhooks' certificate: %v", err)
		}
	})
	if err := install.PrepWithoutInstalling(); err != nil {
		return Webhooks{}, err
	}
	if len(install.ValidatingWebhooks) != 1 {
		return Webhooks{}, fmt.Errorf("%s holds %d webhook configurations, not one", install.Paths[0], len(install.ValidatingWebhooks))
	}
	configuration := install.ValidatingWebhooks[0]
	configuration.Name += "-" + filepath.Base(install.LocalServingCertDir)
	for i := range configuration.Webhooks {
		configuration.Webhooks[i].NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: namespaces},
		}}
	}
	if err := install.Install(e.Config()); err != nil {
		return Webhooks{}, err
	}
	t.Cleanup(func() {
		if err := e.removeWebhooks(configuration.Name); err != nil {
			t.Errorf("removing the webhooks: %v", err)
		}
	})
	return Webhooks{
		Configuration: configuration.Name,
		Address:       net.JoinHostPort(install.LocalServingHost, strconv.Itoa(install.LocalServingPort)),
		CertDir:       install.LocalServingCertDir,
	}, nil
}

func (e *Env) removeWebhooks(name string) error {
	admin, err := client.New(e.Config(), client.Options{})
	if err != nil {
		return err
	}
	return admin.Delete(context.Background(), &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

package installcheck

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// injectFrom is how cert-manager is told whose authority to put into a webhook
// configuration, as NAMESPACE/CERTIFICATE.
const injectFrom = "cert-manager.io/inject-ca-from"

// dialTimeout is more than an API server that is near takes.
const dialTimeout = 5 * time.Second

// webhookName is what the webhook of DeviceTwins is called.
func webhookName() string { return "devicetwins." + v1alpha1.SchemeGroupVersion.Group }

// webhook sends two DeviceTwins along as dry runs. The schema takes both.
func (c *checker) webhook(ctx context.Context) (string, error) {
	refusal := fmt.Sprintf("admission webhook %q denied the request", webhookName())
	err := c.client.Create(ctx, c.twin(`{"a.b": 1}`), client.DryRunAll)
	switch {
	case err == nil:
		return "", fmt.Errorf("a DeviceTwin with a tag that no hub takes was let in: the API server does not reach the webhook, and does without it (failurePolicy Ignore): %w", c.diagnose(ctx))
	case errors.Is(err, context.DeadlineExceeded):
		return "", fmt.Errorf("the API server has not said in time whether it lets in a DeviceTwin (%w): %w", context.DeadlineExceeded, c.diagnose(context.WithoutCancel(ctx)))
	case apierrors.IsForbidden(err) && !strings.Contains(err.Error(), "admission webhook"):
		return "", fmt.Errorf("the check lacks rights: %w", err)
	case !strings.Contains(err.Error(), "admission webhook") && !strings.Contains(err.Error(), "failed calling webhook"):
		return "", fmt.Errorf("a DeviceTwin with a tag that no hub takes was refused, though not by the webhook: %w", err)
	case !strings.Contains(err.Error(), refusal):
		return "", fmt.Errorf("%w: %w", err, c.diagnose(ctx))
	}
	if err := c.client.Create(ctx, c.twin(`{"a": 1}`), client.DryRunAll); err != nil {
		return "", fmt.Errorf("a good DeviceTwin was refused: %w", err)
	}
	return "the API server has it refuse a bad DeviceTwin, and let in a good one", nil
}

func (c *checker) twin(tags string) *v1alpha1.DeviceTwin {
	return &v1alpha1.DeviceTwin{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "install-check-", Namespace: c.Namespace},
		Spec: v1alpha1.DeviceTwinSpec{
			HubRef: v1alpha1.HubReference{Name: "install-check"}, DeviceID: "install-check",
			Tags: &runtime.RawExtension{Raw: []byte(tags)},
		},
	}
}

// diagnose says why the API server may not reach the webhook. While the
// failurePolicy is Ignore, it says nothing of that itself.
func (c *checker) diagnose(ctx context.Context) error {
	var configuration admissionv1.ValidatingWebhookConfiguration
	if err := c.client.Get(ctx, client.ObjectKey{Name: c.Webhooks}, &configuration); err != nil {
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("there is no ValidatingWebhookConfiguration %s: install it again with webhook.enabled", c.Webhooks)
		}
		return err
	}
	i := slices.IndexFunc(configuration.Webhooks, func(w admissionv1.ValidatingWebhook) bool { return w.Name == webhookName() })
	if i < 0 {
		return fmt.Errorf("ValidatingWebhookConfiguration %s has no webhook %s: upgrade the release", c.Webhooks, webhookName())
	}
	to := configuration.Webhooks[i].ClientConfig
	if len(to.CABundle) == 0 {
		if from := configuration.Annotations[injectFrom]; from != "" {
			namespace, name, _ := strings.Cut(from, "/")
			return fmt.Errorf("ValidatingWebhookConfiguration %s has no caBundle yet, so cert-manager has not issued the certificate: is cert-manager there with its cainjector, and what does `kubectl -n %s describe certificate %s` say", c.Webhooks, namespace, name)
		}
		return fmt.Errorf("ValidatingWebhookConfiguration %s has no caBundle: set webhook.certificate.caBundle", c.Webhooks)
	}
	return dial(ctx, to)
}

// dial connects as the API server does.
func dial(ctx context.Context, to admissionv1.WebhookClientConfig) error {
	address, err := addressOf(to)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(to.CABundle) {
		return errors.New("the webhook's caBundle holds no PEM certificate")
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	connection, err := dialer.DialContext(ctx, "tcp", address)
	var verification *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verification):
		return fmt.Errorf("the certificate that %s serves is not one of caBundle: %w: does the Secret hold the certificate of that authority, for the name of the Service", address, verification)
	case err != nil:
		return fmt.Errorf("nothing answers at %s: %w: are the managers' Pods Ready", address, err)
	}
	_ = connection.Close() // nothing was written
	return fmt.Errorf("%s answers here, with a certificate that caBundle trusts: does the API server reach Pods (hostNetwork is for those that do not), and is the configuration a moment old", address)
}

func addressOf(to admissionv1.WebhookClientConfig) (string, error) {
	if service := to.Service; service != nil {
		return net.JoinHostPort(service.Name+"."+service.Namespace+".svc", strconv.Itoa(int(ptr.Deref(service.Port, 443)))), nil
	}
	address, err := url.Parse(ptr.Deref(to.URL, ""))
	if err != nil {
		return "", fmt.Errorf("the webhook's url: %w", err)
	}
	if address.Port() == "" {
		return net.JoinHostPort(address.Hostname(), "443"), nil
	}
	return address.Host, nil
}

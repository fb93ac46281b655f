package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// expiresSoon is how long before its end a certificate should have been renewed.
const expiresSoon = 14 * 24 * time.Hour

func (e *examination) webhooks(ctx context.Context) {
	var found admissionv1.ValidatingWebhookConfigurationList
	err := e.client.List(ctx, &found)
	switch {
	case apierrors.IsForbidden(err):
		e.add(Warn, "webhooks", "not checked: you may not list validatingwebhookconfigurations")
		return
	case err != nil:
		e.add(Fail, "webhooks", cluster.Explained(err).Error())
		return
	}
	configured := false
	for i := range found.Items {
		for j := range found.Items[i].Webhooks {
			hook := &found.Items[i].Webhooks[j]
			if !concernsUs(hook) {
				continue
			}
			configured = true
			status, text := certificateState(hook.ClientConfig.CABundle, e.access.Clock.Now())
			e.add(status, "webhook "+hook.Name, text)
		}
	}
	if !configured {
		e.add(Warn, "webhooks", "there are none: manifests that no hub takes are stored, and refused by the controllers alone; see docs/admission.md")
		return
	}
	if !e.facts.unserved {
		e.admission(ctx)
	}
}

func concernsUs(hook *admissionv1.ValidatingWebhook) bool {
	return slices.ContainsFunc(hook.Rules, func(rule admissionv1.RuleWithOperations) bool {
		return slices.Contains(rule.APIGroups, v1alpha1.SchemeGroupVersion.Group)
	})
}

// certificateState is about the authorities that the API server trusts at a webhook.
func certificateState(bundle []byte, now time.Time) (Status, string) {
	if len(bundle) == 0 {
		return Fail, "has no caBundle, so that the API server does not trust it: see docs/admission.md"
	}
	ends, err := end(bundle)
	switch left := ends.Sub(now).Round(time.Minute); {
	case err != nil:
		return Fail, "its caBundle: " + err.Error()
	case left <= 0:
		return Fail, "its certificate authority has expired, on " + ends.Format(time.DateOnly) + ": renew it"
	case left < expiresSoon:
		return Warn, "its certificate authority expires on " + ends.Format(time.DateOnly) + ": renew it"
	}
	return OK, "its certificate authority is good until " + ends.Format(time.DateOnly)
}

// end is when the last of several certificates ends: one of them is enough.
func end(bundle []byte) (time.Time, error) {
	var last time.Time
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return last, fmt.Errorf("no certificate: %w", err)
		}
		if certificate.NotAfter.After(last) {
			last = certificate.NotAfter
		}
	}
	if last.IsZero() {
		return last, errors.New("there is no certificate in it")
	}
	return last, nil
}

// admission sends a DeviceTwin that admission refuses and the schema does not, as a dry run.
func (e *examination) admission(ctx context.Context) {
	const subject = "admission"
	probe := &v1alpha1.DeviceTwin{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.namespace, GenerateName: "kubectl-twin-doctor-"},
		Spec: v1alpha1.DeviceTwinSpec{
			HubRef: v1alpha1.HubReference{Name: "none"}, DeviceID: "none", Tags: &runtime.RawExtension{Raw: []byte(`{"a.b":1}`)},
		},
	}
	err := e.client.Create(ctx, probe, client.DryRunAll)
	switch {
	case err == nil:
		e.add(Warn, subject, "does not answer for namespace "+e.namespace+", or leaves it out: wrong manifests are stored there. Does a manager serve webhooks, and can the API server reach it?")
	case apierrors.IsInvalid(err):
		e.add(OK, subject, "refuses what no hub takes")
	case apierrors.IsForbidden(err):
		e.add(Warn, subject, "not checked: you may not create devicetwins in namespace "+e.namespace)
	default:
		e.add(Fail, subject, cluster.Explained(err).Error())
	}
}

package controlplane

import (
	"strings"
	"testing"
)

func TestTakeApart(t *testing.T) {
	t.Parallel()
	const crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\n"
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: m, namespace: ns}\nspec: {template: {spec: {serviceAccountName: sa}}}\n"
	const issued = "apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {name: i}\n---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: c}\n"
	const webhooks = "kind: ValidatingWebhookConfiguration\nwebhooks:\n- {name: a, clientConfig: {service: {name: s, path: /validate-a}}}\n- {name: b, clientConfig: {service: {name: s, path: /validate-b}}}\n"
	parts, err := takeApart(strings.Join([]string{crd, deployment, "# nothing\n", webhooks, issued, crd}, "---\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (workload{"ns", "sa"}); parts.manager != want {
		t.Errorf("got %+v, want %+v", parts.manager, want)
	}
	if strings.Count(parts.objects, "kind:") != 2 || strings.Count(parts.objects, "CustomResourceDefinition") != 2 {
		t.Errorf("got\n%s", parts.objects)
	}
	text, err := parts.WebhooksAt("https://127.0.0.1:7", []byte("pem"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `kind: ValidatingWebhookConfiguration
webhooks:
- clientConfig:
    caBundle: cGVt
    url: https://127.0.0.1:7/validate-a
  name: a
- clientConfig:
    caBundle: cGVt
    url: https://127.0.0.1:7/validate-b
  name: b
`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	for _, missing := range []string{crd, deployment, webhooks} {
		if _, err := takeApart(missing); err == nil {
			t.Errorf("accepted\n%s", missing)
		}
	}
	parts.webhooks = map[string]any{"webhooks": []any{map[string]any{"name": "a"}}}
	if _, err := parts.WebhooksAt("https://127.0.0.1:7", nil); err == nil {
		t.Error("a webhook without a path was accepted")
	}
}

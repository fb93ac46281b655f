package controlplane

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// workload says as whom the manager is meant to run.
type workload struct{ namespace, serviceAccount string }

// Installation is what `kubectl kustomize config/default` prints, taken apart.
type Installation struct {
	// objects are applied as they are.
	objects string
	// webhooks is applied when the manager serves, with its address.
	webhooks map[string]any
	manager  workload
}

// User is the manager's name at the API server.
func (i Installation) User() string {
	return fmt.Sprintf("system:serviceaccount:%s:%s", i.manager.namespace, i.manager.serviceAccount)
}

// Install applies the CRDs and the generated RBAC of the repository at root, and
// writes a kubeconfig for the manager's own service account. Its webhooks are left
// to the caller, who starts the manager.
func (c *Cluster) Install(ctx context.Context, root, kubeconfig string) (Installation, error) {
	kubectl := c.Kubectl()
	rendered, err := kubectl.Run(ctx, "kustomize", filepath.Join(root, "config", "default"))
	if err != nil {
		return Installation{}, err
	}
	parts, err := takeApart(rendered)
	if err != nil {
		return parts, err
	}
	if err := kubectl.Apply(ctx, parts.objects); err != nil {
		return parts, err
	}
	if _, err := kubectl.Run(ctx, "wait", "--for=condition=Established", "--timeout=30s", "crd",
		"hubconnections.iothub.devicetwin.io", "devicetwins.iothub.devicetwin.io", "twinqueries.iothub.devicetwin.io",
		"twinrequests.iothub.devicetwin.io", "devicetwinsets.iothub.devicetwin.io",
	); err != nil {
		return parts, err
	}
	account := parts.manager
	token, err := kubectl.Run(ctx, "create", "token", account.serviceAccount, "--namespace", account.namespace, "--duration=24h")
	if err != nil {
		return parts, err
	}
	return parts, c.writeKubeconfig(kubeconfig, map[string]any{"token": strings.TrimSpace(token)})
}

const webhooksKind = "ValidatingWebhookConfiguration"

// takeApart leaves out what is done in another way here: the manager is a process
// beside the API server, and gets its certificate from the caller, who starts it.
func takeApart(rendered string) (Installation, error) {
	var out Installation
	var kept strings.Builder
	for _, document := range SplitDocuments([]byte(rendered)) {
		var object map[string]any
		if err := yaml.Unmarshal(document, &object); err != nil {
			return out, fmt.Errorf("config/default: %w", err)
		}
		switch object["kind"] {
		case webhooksKind:
			out.webhooks = object
		case "Issuer", "Certificate":
		case "Deployment":
			if err := out.manager.read(document); err != nil {
				return out, err
			}
		default:
			kept.WriteString("---\n")
			kept.Write(document)
			kept.WriteByte('\n')
		}
	}
	out.objects = kept.String()
	if out.manager.namespace == "" || out.manager.serviceAccount == "" {
		return out, errors.New("config/default has no Deployment with a namespace and a service account")
	}
	if out.webhooks == nil {
		return out, errors.New("config/default has no " + webhooksKind)
	}
	return out, nil
}

// read takes the account from the Deployment.
func (w *workload) read(document []byte) error {
	var deployment struct {
		Metadata struct {
			Namespace string `json:"namespace"`
		} `json:"metadata"`
		Spec struct {
			Template struct {
				Spec struct {
					ServiceAccountName string `json:"serviceAccountName"`
				} `json:"spec"`
			} `json:"template"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(document, &deployment); err != nil {
		return fmt.Errorf("config/default: %w", err)
	}
	*w = workload{deployment.Metadata.Namespace, deployment.Spec.Template.Spec.ServiceAccountName}
	return nil
}

// WebhooksAt is the webhook configuration with an address of this machine in place
// of the Service, which leads nowhere where nothing runs pods.
func (i Installation) WebhooksAt(base string, caPEM []byte) ([]byte, error) {
	webhooks, _ := i.webhooks["webhooks"].([]any)
	for _, entry := range webhooks {
		webhook, _ := entry.(map[string]any)
		client, _ := webhook["clientConfig"].(map[string]any)
		service, _ := client["service"].(map[string]any)
		path, _ := service["path"].(string)
		if path == "" {
			return nil, fmt.Errorf("config/default: a webhook of the %s names no path of a Service", webhooksKind)
		}
		webhook["clientConfig"] = map[string]any{"url": base + path, "caBundle": caPEM}
	}
	return yaml.Marshal(i.webhooks)
}

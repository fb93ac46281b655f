package main

import (
	"os"

	"sigs.k8s.io/yaml"
)

// writeKubeconfig writes a kubeconfig for one user of one cluster. It holds or
// names credentials, so only its owner may read it.
func writeKubeconfig(path, server, caFile string, user map[string]any) error {
	content, err := yaml.Marshal(map[string]any{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": "demo",
		"clusters": []any{map[string]any{
			"name":    "demo",
			"cluster": map[string]any{"server": server, "certificate-authority": caFile},
		}},
		"users": []any{map[string]any{"name": "demo", "user": user}},
		"contexts": []any{map[string]any{
			"name":    "demo",
			"context": map[string]any{"cluster": "demo", "user": "demo", "namespace": "default"},
		}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

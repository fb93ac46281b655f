package controlplane

import (
	"os"

	"sigs.k8s.io/yaml"
)

// writeKubeconfig writes a kubeconfig for one user of the cluster. It holds or
// names credentials, so only its owner may read it.
func (c *Cluster) writeKubeconfig(path string, user map[string]any) error {
	content, err := yaml.Marshal(map[string]any{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": "local",
		"clusters": []any{map[string]any{
			"name":    "local",
			"cluster": map[string]any{"server": c.Server, "certificate-authority": c.CA.CertFile()},
		}},
		"users": []any{map[string]any{"name": "local", "user": user}},
		"contexts": []any{map[string]any{
			"name":    "local",
			"context": map[string]any{"cluster": "local", "user": "local", "namespace": "default"},
		}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

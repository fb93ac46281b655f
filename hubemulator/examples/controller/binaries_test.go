package controller_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// binaries says where kube-apiserver and etcd are. In a project of your own
// you do not need it: `setup-envtest use -p env` sets KUBEBUILDER_ASSETS, which
// envtest knows. Here a script keeps them; `make controlplane` gets them.
func binaries(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	dir, err := exec.CommandContext(t.Context(), "../../../hack/controlplane/ensure.sh", "--cached").Output()
	if err != nil {
		t.Fatalf("no control plane to test against, run `make controlplane` once: %v", err)
	}
	return strings.TrimSpace(string(dir))
}

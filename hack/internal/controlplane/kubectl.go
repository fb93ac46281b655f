package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// kubectlTimeout bounds one call.
const kubectlTimeout = 60 * time.Second

// Kubectl runs the kubectl that belongs to an API server, as the administrator.
type Kubectl struct {
	// Path is the program.
	Path string
	// Kubeconfig is the administrator's.
	Kubeconfig string

	cache string
}

// Kubectl returns the kubectl for this cluster.
func (c *Cluster) Kubectl() *Kubectl {
	return &Kubectl{
		Path: filepath.Join(c.opts.Assets, "kubectl"), Kubeconfig: c.Kubeconfig, cache: filepath.Join(c.opts.Dir, "kubectl-cache"),
	}
}

// Run returns what kubectl prints.
func (k *Kubectl) Run(ctx context.Context, args ...string) (string, error) {
	return k.RunWithInput(ctx, nil, args...)
}

// RunWithInput is Run with something to read for kubectl.
func (k *Kubectl) RunWithInput(ctx context.Context, input io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, kubectlTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.Path, append([]string{"--cache-dir=" + k.cache}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.Kubeconfig)
	cmd.Stdin = input
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Apply applies manifests as they are.
func (k *Kubectl) Apply(ctx context.Context, manifests string) error {
	_, err := k.RunWithInput(ctx, strings.NewReader(manifests), "apply", "-f", "-")
	return err
}

// Get decodes what `kubectl get ... -o json` prints.
func (k *Kubectl) Get(ctx context.Context, into any, args ...string) error {
	text, err := k.Run(ctx, append(append([]string{"get"}, args...), "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("kubectl get %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

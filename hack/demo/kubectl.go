package main

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

// kubectl runs the kubectl that belongs to the API server, as the
// administrator.
type kubectl struct {
	path, kubeconfig, cache string
}

func newKubectl(assets, kubeconfig string, dirs *directories) *kubectl {
	return &kubectl{path: filepath.Join(assets, "kubectl"), kubeconfig: kubeconfig, cache: dirs.in("kubectl-cache")}
}

func (k *kubectl) run(ctx context.Context, args ...string) (string, error) {
	return k.runWithInput(ctx, nil, args...)
}

func (k *kubectl) runWithInput(ctx context.Context, input io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, kubectlTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.path, append([]string{"--cache-dir=" + k.cache}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+k.kubeconfig)
	cmd.Stdin = input
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// get decodes what `kubectl get ... -o json` prints.
func (k *kubectl) get(ctx context.Context, into any, args ...string) error {
	text, err := k.run(ctx, append(append([]string{"get"}, args...), "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("kubectl get %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// condition is one entry of an object's status.conditions.
type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// readiness renders the Ready condition in a few words.
func readiness(conditions []condition) (ready bool, seen string) {
	for _, c := range conditions {
		if c.Type == "Ready" {
			return c.Status == "True", fmt.Sprintf("Ready=%s %s (%s)", c.Status, c.Reason, c.Message)
		}
	}
	return false, "no Ready condition"
}

// deviceTwin is what the story looks at in a DeviceTwin.
type deviceTwin struct {
	Metadata struct {
		Name        string            `json:"name"`
		Generation  int64             `json:"generation"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Status struct {
		ObservedGeneration int64       `json:"observedGeneration"`
		Conditions         []condition `json:"conditions"`
		Connectivity       string      `json:"connectivity"`
		Connection         struct {
			State string `json:"state"`
		} `json:"connection"`
		Memberships []string `json:"memberships"`
	} `json:"status"`
}

// twinQuery is what the story looks at in a TwinQuery.
type twinQuery struct {
	Status struct {
		Conditions []condition `json:"conditions"`
		Count      *int64      `json:"count"`
		Devices    []string    `json:"devices"`
	} `json:"status"`
}

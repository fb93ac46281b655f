package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	// stepTimeout bounds each wait.
	stepTimeout = 2 * time.Minute
	pollEvery   = 200 * time.Millisecond
)

// cluster is the node's, as its administrator sees it: by a client, kubectl and Helm.
type cluster struct {
	client.Client
}

// connect takes the cluster that KUBECONFIG names.
func connect() (*cluster, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // what is edited at once is the story's business
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	return &cluster{direct}, nil
}

// tool runs kubectl, Helm or a shell and returns what it printed.
func (c *cluster) tool(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// restrict makes a namespace that enforces the restricted pod security standard.
func (c *cluster) restrict(ctx context.Context, name string) error {
	namespace := &corev1.Namespace{}
	namespace.Name = name
	namespace.Labels = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
	return c.Create(ctx, namespace)
}

// await polls until look is satisfied. An error of look is something that was seen: the API server
// or a connection to a Pod may come back.
func await(ctx context.Context, expected string, look func(context.Context) (seen string, ok bool, err error)) error {
	last := "nothing"
	err := wait.PollUntilContextTimeout(ctx, pollEvery, stepTimeout, true, func(ctx context.Context) (bool, error) {
		seen, ok, err := look(ctx)
		if err != nil {
			seen, ok = err.Error(), false
		}
		if ctx.Err() == nil {
			last = seen
		}
		return ok, nil
	})
	if err != nil {
		return fmt.Errorf("expected %s, seen: %s", expected, last)
	}
	return nil
}

// managers are the Pods of the operator's release that run one.
func (c *cluster) managers(ctx context.Context) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := c.List(ctx, &list, client.InNamespace(systemNamespace), client.MatchingLabels{"app.kubernetes.io/component": "manager"})
	return list.Items, err
}

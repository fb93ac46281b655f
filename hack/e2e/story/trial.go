package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// trial is the first chapter: what README.md tells a reader to type.
type trial struct {
	*cluster
	opts options
}

const (
	release         = "devicetwin-operator"
	systemNamespace = "devicetwin-system"
	deviceID        = "thermostat-1"
	// promised is what README.md says that its commands take at most.
	promised = 60 * time.Second
	commands = 5
)

func newTrial(c *cluster, opts options) *trial { return &trial{c, opts} }

func (t *trial) chapter() chapter {
	return chapter{"trial", []step{
		{"The commands of README.md, from helm install to a Ready DeviceTwin", t.commands},
		{"helm test, in a Pod", t.tests},
		{"The device has reported, and a query selects it", t.reports},
		{"The webhook refuses a key that no hub takes", t.refuses},
		{"The manager's Pod is deleted, and an edit meanwhile reaches the device", t.restarts},
		{"Uninstalled on request with its definitions, and every object", t.leaves},
	}}
}

// commands runs the first block of the page's section as it stands, but for the chart's address.
func (t *trial) commands(ctx context.Context) (string, error) {
	page, err := os.ReadFile(t.opts.readme)
	if err != nil {
		return "", err
	}
	block := regexp.MustCompile("(?s)\n## Try it on a cluster\n.*?\n```sh\n(.*?)```").FindSubmatch(page)
	if block == nil {
		return "", fmt.Errorf("%s has no section with commands to try it", t.opts.readme)
	}
	script := string(block[1])
	if n := len(regexp.MustCompile(`(?m)^(kubectl|helm) `).FindAllString(script, -1)); n > commands {
		return "", fmt.Errorf("%d commands, more than the %d that are promised", n, commands)
	}
	chart := regexp.MustCompile(`oci://\S+/devicetwin-operator( \\\n +)?( ?--version \S+)?`)
	script = chart.ReplaceAllLiteralString(script, t.opts.chart+" ")
	if err := t.restrict(ctx, systemNamespace); err != nil {
		return "", err
	}
	started := time.Now()
	printed, err := t.tool(ctx, "bash", "-euo", "pipefail", "-c", script)
	if err != nil {
		return "", err
	}
	took := time.Since(started)
	if took > promised {
		return "", fmt.Errorf("it took %s, longer than the %s that are promised", took.Round(time.Second), promised)
	}
	return strings.ReplaceAll(strings.TrimSpace(printed), "\n", "\n        "), nil
}

func (t *trial) tests(ctx context.Context) (string, error) {
	printed, err := t.tool(ctx, "helm", "test", release, "-n", systemNamespace, "--logs", "--timeout", stepTimeout.String())
	if err != nil {
		return "", err
	}
	checks := regexp.MustCompile(`(?m)^ok .*$`).FindAllString(printed, -1)
	if len(checks) < 4 || strings.Contains(printed, "FAILED") {
		return "", fmt.Errorf("kinds, webhook, metrics and hub are to be checked: %s", printed)
	}
	return strings.Join(checks, "\n        "), nil
}

func (t *trial) twin(ctx context.Context) (*v1alpha1.DeviceTwin, error) {
	twin := &v1alpha1.DeviceTwin{}
	return twin, t.Get(ctx, types.NamespacedName{Namespace: systemNamespace, Name: deviceID}, twin)
}

func (t *trial) reports(ctx context.Context) (string, error) {
	query := &v1alpha1.TwinQuery{}
	query.Namespace, query.Name = systemNamespace, "redmond43-cellular"
	query.Spec.HubRef.Name = "hub"
	query.Spec.Where = "tags.location.plant = 'Redmond43' AND properties.reported.connectivity = 'cellular'"
	if err := t.Create(ctx, query); err != nil {
		return "", err
	}
	return query.Spec.Where, await(ctx, "the DeviceTwin to be a member of the query", func(ctx context.Context) (string, bool, error) {
		twin, err := t.twin(ctx)
		return fmt.Sprint(twin.Status.Memberships), len(twin.Status.Memberships) == 1, err
	})
}

func (t *trial) refuses(ctx context.Context) (string, error) {
	_, err := t.tool(ctx, "bash", "-c", `kubectl apply -n `+systemNamespace+` -f - <<'EOF'
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: bad}
spec: {hubRef: {name: hub}, deviceId: thermostat-2, tags: {"a.b": 1}}
EOF`)
	if err == nil {
		return "", errors.New("it was not refused")
	}
	if !strings.Contains(err.Error(), `spec.tags["a.b"]`) {
		return "", fmt.Errorf("refused for another reason: %w", err)
	}
	return "", nil
}

func (t *trial) restarts(ctx context.Context) (string, error) {
	pods, err := t.managers(ctx)
	if err != nil {
		return "", err
	}
	for i := range pods {
		if err := t.Delete(ctx, &pods[i]); err != nil {
			return "", err
		}
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"desired":{"power_level":7}}}`))
	twin, err := t.twin(ctx)
	if err != nil {
		return "", err
	}
	if err := t.Patch(ctx, twin, patch); err != nil {
		return "", err
	}
	return "", await(ctx, "the device to acknowledge the edit", func(ctx context.Context) (string, bool, error) {
		now, err := t.twin(ctx)
		acknowledged := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionAcknowledged)
		return fmt.Sprintf("generation %d observed, %+v", now.Status.ObservedGeneration, acknowledged),
			now.Status.ObservedGeneration == twin.Generation && meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.ConditionAcknowledged), err
	})
}

func (t *trial) leaves(ctx context.Context) (string, error) {
	if _, err := t.tool(ctx, "helm", "upgrade", release, t.opts.chart, "-n", systemNamespace, "--reuse-values",
		"--set", "crds.keep=false", "--wait", "--timeout", stepTimeout.String()); err != nil {
		return "", err
	}
	if _, err := t.tool(ctx, "helm", "uninstall", release, "-n", systemNamespace, "--wait", "--timeout", stepTimeout.String()); err != nil {
		return "", err
	}
	err := await(ctx, "no definitions", func(ctx context.Context) (string, bool, error) {
		names, err := t.definitions(ctx)
		return names, names == "", err
	})
	if err != nil {
		return "", err
	}
	_, err = t.tool(ctx, "kubectl", "delete", "namespace", systemNamespace, "--wait")
	return "", err
}

// definitions are the names of the operator's CustomResourceDefinitions.
func (c *cluster) definitions(ctx context.Context) (string, error) {
	names, err := c.tool(ctx, "bash", "-euo", "pipefail", "-c", `kubectl get customresourcedefinitions -o name | sed -n /iothub.devicetwin.io/p`)
	return strings.TrimSpace(names), err
}

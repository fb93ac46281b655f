package report

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/doctor"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

// What of a log is collected, for each container.
const (
	logLines = 20000
	logBytes = 16 << 20
)

// collector fills a bundle.
type collector struct {
	*bundle

	access   *cluster.Access
	client   client.Client
	pods     kubernetes.Interface
	progress *terminal.Progress
	// namespace of the objects; empty for all.
	namespace        string
	managerNamespace string
}

// collect goes on past whatever fails: a report with less is better than none.
func (c *collector) collect(ctx context.Context) {
	checks, err := doctor.Examine(ctx, c.access, c.managerNamespace, c.namespace == "")
	c.lacks("doctor", err)
	for _, check := range checks {
		fmt.Fprintf(c.file("doctor.txt"), "%-5s %s: %s\n", check.Status, check.Subject, credential.Masked(check.Text))
	}
	in := client.InNamespace(c.namespace)
	c.lacks("DeviceTwins", cluster.EachTwin(ctx, c.client, func(obj *v1alpha1.DeviceTwin) error { return c.custom("devicetwins", obj) }, in))
	c.lacks("HubConnections", cluster.EachHub(ctx, c.client, func(obj *v1alpha1.HubConnection) error { return c.custom("hubconnections", obj) }, in))
	c.lacks("TwinQueries", cluster.EachQuery(ctx, c.client, func(obj *v1alpha1.TwinQuery) error { return c.custom("twinqueries", obj) }, in))
	c.lacks("DeviceTwinSets", cluster.EachSet(ctx, c.client, func(obj *v1alpha1.DeviceTwinSet) error { return c.custom("devicetwinsets", obj) }, in))
	c.lacks("events", c.events(ctx))
	c.lacks("Deployments", c.deployments(ctx))
	c.lacks("Leases", c.leases(ctx))
	c.lacks("Pods", c.logs(ctx))
}

func (c *collector) custom(plural string, obj client.Object) error {
	c.progress.Add(1)
	return c.object("namespaces/"+obj.GetNamespace()+"/"+plural+".yaml", obj)
}

// events are those about our kinds, and all of the manager's namespace.
func (c *collector) events(ctx context.Context) error {
	var found eventsv1.EventList
	if err := c.client.List(ctx, &found, client.InNamespace(c.namespace)); err != nil {
		return cluster.Explained(err)
	}
	for i := range found.Items {
		event := &found.Items[i]
		if !strings.HasPrefix(event.Regarding.APIVersion, v1alpha1.SchemeGroupVersion.Group+"/") {
			continue
		}
		at := event.EventTime.Time
		if event.Series != nil {
			at = event.Series.LastObservedTime.Time
		}
		fmt.Fprintf(c.file("namespaces/"+event.Namespace+"/events.txt"), "%s %s %s/%s %s: %s\n", at.UTC().Format("2006-01-02T15:04:05Z"), event.Type,
			event.Regarding.Kind, event.Regarding.Name, event.Reason, credential.Masked(event.Note))
	}
	return nil
}

// deployments say which images run, and how. Their environment is left out.
func (c *collector) deployments(ctx context.Context) error {
	var found appsv1.DeploymentList
	if err := c.client.List(ctx, &found, client.InNamespace(c.managerNamespace), doctor.ManagerLabels()); err != nil {
		return cluster.Explained(err)
	}
	for i := range found.Items {
		deployment := &found.Items[i]
		out := c.file("manager/deployments.txt")
		fmt.Fprintf(out, "Deployment %s: %d of %d Pods are ready\n", deployment.Name, deployment.Status.ReadyReplicas, ptr.Deref(deployment.Spec.Replicas, 1))
		for _, container := range deployment.Spec.Template.Spec.Containers {
			fmt.Fprintf(out, "  %s: image %s, args %s\n", container.Name, container.Image, credential.Masked(strings.Join(container.Args, " ")))
		}
	}
	return nil
}

func (c *collector) leases(ctx context.Context) error {
	var found coordinationv1.LeaseList
	if err := c.client.List(ctx, &found, client.InNamespace(c.managerNamespace)); err != nil {
		return cluster.Explained(err)
	}
	for i := range found.Items {
		if err := c.object("manager/leases.yaml", &found.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// logs are those of the managers' Pods, and of their containers before the last restart.
func (c *collector) logs(ctx context.Context) error {
	var found corev1.PodList
	if err := c.client.List(ctx, &found, client.InNamespace(c.managerNamespace), doctor.ManagerLabels()); err != nil {
		return cluster.Explained(err)
	}
	for i := range found.Items {
		pod := &found.Items[i]
		restarts := map[string]int32{}
		for _, status := range pod.Status.ContainerStatuses {
			restarts[status.Name] = status.RestartCount
		}
		fmt.Fprintf(c.file("manager/pods.txt"), "Pod %s: %s on node %s\n", pod.Name, pod.Status.Phase, pod.Spec.NodeName)
		for _, container := range pod.Spec.Containers {
			fmt.Fprintf(c.file("manager/pods.txt"), "  %s: image %s, restarted %d times\n", container.Name, container.Image, restarts[container.Name])
			c.log(ctx, pod.Name, container.Name, false)
			if restarts[container.Name] > 0 {
				c.log(ctx, pod.Name, container.Name, true)
			}
		}
	}
	return nil
}

func (c *collector) log(ctx context.Context, pod, container string, previous bool) {
	name := pod + "-" + container
	if previous {
		name += "-previous"
	}
	stream, err := c.pods.CoreV1().Pods(c.managerNamespace).GetLogs(pod, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: ptr.To[int64](logLines), LimitBytes: ptr.To[int64](logBytes), Timestamps: false,
	}).Stream(ctx)
	if err != nil {
		c.lacks("log of "+name, err)
		return
	}
	defer func() { _ = stream.Close() }() // what was read of it is there
	c.progress.Add(1)
	c.lacks("log of "+name, redactLog(c.file("manager/logs/"+name+".log"), stream))
}

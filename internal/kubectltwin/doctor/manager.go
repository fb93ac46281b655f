package doctor

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// leaseName is what the names of the managers' Leases begin with; that of a shard has a hash behind it.
const leaseName = "devicetwin-operator.iothub.devicetwin.io"

// ManagerLabels are those of the managers' Deployments, in the manifests and in the chart.
func ManagerLabels() client.MatchingLabels {
	return client.MatchingLabels{"app.kubernetes.io/name": "devicetwin-operator", "app.kubernetes.io/component": "manager"}
}

func (e *examination) managers(ctx context.Context) {
	var found appsv1.DeploymentList
	err := e.client.List(ctx, &found, client.InNamespace(e.managerNamespace), ManagerLabels())
	switch {
	case apierrors.IsForbidden(err):
		e.add(Warn, "manager", "not checked: you may not list deployments in namespace "+e.managerNamespace)
	case err != nil:
		e.add(Fail, "manager", cluster.Explained(err).Error())
	case len(found.Items) == 0:
		e.add(Warn, "manager", "there is no Deployment of it in namespace "+e.managerNamespace+": name the one it is in with --manager-namespace, or install it")
	}
	for i := range found.Items {
		deployment := &found.Items[i]
		account := e.managerNamespace + "/" + cmp.Or(deployment.Spec.Template.Spec.ServiceAccountName, "default")
		e.facts.accounts = append(e.facts.accounts, account)
		status, text := deploymentState(deployment)
		e.add(status, "Deployment "+deployment.Name, text)
	}
}

func deploymentState(deployment *appsv1.Deployment) (Status, string) {
	wanted, ready := ptr.Deref(deployment.Spec.Replicas, 1), deployment.Status.ReadyReplicas
	image := ""
	for _, container := range deployment.Spec.Template.Spec.Containers {
		if container.Name == "manager" {
			image = container.Image
		}
	}
	text := fmt.Sprintf("%d of %d Pods are ready, image %s", ready, wanted, image)
	switch {
	case wanted == 0:
		return Fail, text + ": nothing runs, scale it up"
	case ready == 0:
		return Fail, text + ": see `kubectl describe pods` and `kubectl logs` in its namespace"
	case ready < wanted:
		return Warn, text
	}
	if _, tag, tagged := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":"); tagged && tag != version.Get() {
		return Warn, text + ": another release than this program's, " + version.Get()
	}
	return OK, text
}

// leases tell whether a manager acts.
func (e *examination) leases(ctx context.Context) {
	var found coordinationv1.LeaseList
	err := e.client.List(ctx, &found, client.InNamespace(e.managerNamespace))
	switch {
	case apierrors.IsForbidden(err):
		e.add(Warn, "Lease", "not checked: you may not list leases in namespace "+e.managerNamespace)
		return
	case err != nil:
		e.add(Fail, "Lease", cluster.Explained(err).Error())
		return
	}
	leases := 0
	for i := range found.Items {
		if lease := &found.Items[i]; strings.HasPrefix(lease.Name, leaseName) {
			leases++
			status, text := leaseState(lease, e.access.Clock.Now())
			e.add(status, "Lease "+lease.Name, text)
		}
	}
	if leases == 0 {
		e.add(Warn, "Lease", "there is none in namespace "+e.managerNamespace+": no manager has run there with --leader-elect")
	}
}

func leaseState(lease *coordinationv1.Lease, now time.Time) (Status, string) {
	holder := ptr.Deref(lease.Spec.HolderIdentity, "")
	switch {
	case holder == "":
		return Fail, "has no holder: no manager acts. Does one run?"
	case lease.Spec.RenewTime == nil:
		return Fail, "was never renewed by " + holder
	}
	lasts := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	age := now.Sub(lease.Spec.RenewTime.Time)
	if age > lasts+maxSkew {
		return Fail, fmt.Sprintf("was renewed %s ago by %s, and lasts %s: no manager acts. Does one run?", duration.HumanDuration(age), holder, lasts)
	}
	return OK, "held by " + holder
}

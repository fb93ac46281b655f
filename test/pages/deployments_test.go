package pages_test

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// playDeployments stands in for the Deployment controller, the scheduler and the
// kubelet until the test ends: it says of every Deployment that its Pods run.
func playDeployments(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	c, err := client.NewWithWatch(cluster.Config(), client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	changes, err := c.Watch(context.Background(), &appsv1.DeploymentList{})
	g.Expect(err).NotTo(HaveOccurred())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for event := range changes.ResultChan() {
			deployment, ok := event.Object.(*appsv1.Deployment)
			if !ok || deployment.Status.ObservedGeneration == deployment.Generation {
				continue
			}
			replicas := ptr.Deref(deployment.Spec.Replicas, 1)
			deployment.Status = appsv1.DeploymentStatus{
				ObservedGeneration: deployment.Generation, Replicas: replicas, UpdatedReplicas: replicas,
				ReadyReplicas: replicas, AvailableReplicas: replicas,
			}
			// One that has changed or is gone by now comes again, or does not.
			if err := c.Status().Update(context.Background(), deployment); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				t.Errorf("saying that the Pods of %s run: %v", deployment.Name, err)
			}
		}
	}()
	t.Cleanup(func() {
		changes.Stop()
		<-ended
	})
}

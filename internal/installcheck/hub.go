package installcheck

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// deleteTimeout bounds the deletion, which is due after an interruption too.
const deleteTimeout = 10 * time.Second

// hub makes a HubConnection, waits until it is Ready, and deletes it.
func (c *checker) hub(ctx context.Context) (found string, err error) {
	connection := &v1alpha1.HubConnection{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "install-check-", Namespace: c.Namespace},
		Spec: v1alpha1.HubConnectionSpec{
			Auth:     v1alpha1.HubAuth{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: c.HubSecret}},
			CABundle: c.HubCA,
		},
	}
	if err := c.client.Create(ctx, connection); err != nil {
		return "", fmt.Errorf("making a HubConnection: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		if failure := c.client.Delete(ctx, connection); client.IgnoreNotFound(failure) != nil {
			err = errors.Join(err, fmt.Errorf("deleting HubConnection %s, which is left behind: %w", connection.Name, failure))
		}
	}()
	return c.awaitReady(ctx, connection)
}

// awaitReady follows the HubConnection until it is Ready or ctx ends.
func (c *checker) awaitReady(ctx context.Context, connection *v1alpha1.HubConnection) (string, error) {
	last := connection
	watcher := &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
		return c.client.Watch(ctx, &v1alpha1.HubConnectionList{}, &client.ListOptions{
			Namespace: connection.Namespace, FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, connection.Name), Raw: &opts,
		})
	}}
	_, err := watchtools.Until(ctx, connection.ResourceVersion, watcher, func(event watch.Event) (bool, error) {
		seen, ok := event.Object.(*v1alpha1.HubConnection)
		if !ok {
			return false, fmt.Errorf("following HubConnection %s: %w", connection.Name, apierrors.FromObject(event.Object))
		}
		if event.Type == watch.Deleted {
			return false, fmt.Errorf("HubConnection %s was deleted by another", connection.Name)
		}
		last = seen
		return meta.IsStatusConditionTrue(seen.Status.Conditions, v1alpha1.ConditionReady), nil
	})
	ready := meta.FindStatusCondition(last.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case err == nil:
		return fmt.Sprintf("a HubConnection to %s came to be Ready", last.Status.HostName), nil
	case ctx.Err() == nil:
		return "", err
	case ready == nil:
		return "", errors.New("no manager has taken up the HubConnection: are the managers' Pods Ready, and does one of them hold the Lease")
	default:
		return "", fmt.Errorf("the HubConnection is not Ready: %s: %s: docs/conditions.md says what to do", ready.Reason, ready.Message)
	}
}

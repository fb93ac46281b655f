package request

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

const (
	// patience is longer than the manager takes to answer, whatever the answer is.
	patience = 75 * time.Second
	// farewell is for deleting a request whose command was interrupted.
	farewell = 5 * time.Second
	// ttl is for requests that could not be deleted.
	ttl = time.Minute
)

// Client makes TwinRequests.
type Client struct {
	client client.WithWatch
	// labels of the requests, by which the manager of a shard finds them.
	labels map[string]string
}

// Flags are those of commands that make requests.
type Flags struct {
	// Labels to put on the requests.
	Labels map[string]string
}

// AddFlags adds them to a command.
func (f *Flags) AddFlags(flags *pflag.FlagSet) {
	flags.StringToStringVar(&f.Labels, "request-labels", nil,
		"labels of the TwinRequests, for shards by other labels than iothub.devicetwin.io/…, which are taken over by themselves")
}

// New returns a client. The requests have those of an object's labels by which shards may go, and those of the flags.
func New(c client.WithWatch, flags Flags, like map[string]string) *Client {
	own := shardLabels(like)
	maps.Copy(own, flags.Labels)
	return &Client{client: c, labels: own}
}

// shardLabels are those of this API's group. Others are left out: tools take an object for theirs by its labels.
func shardLabels(all map[string]string) map[string]string {
	own := map[string]string{}
	for key, value := range all {
		if strings.HasPrefix(key, v1alpha1.SchemeGroupVersion.Group+"/") {
			own[key] = value
		}
	}
	return own
}

// RefusalError is a request that was not answered.
type RefusalError struct{ Reason, Message string }

// Error implements error.
func (r *RefusalError) Error() string { return r.Reason + ": " + r.Message }

// ReasonOf is why a request was not answered; "" for other errors.
func ReasonOf(err error) string {
	if refusal, ok := errors.AsType[*RefusalError](err); ok {
		return refusal.Reason
	}
	return ""
}

// Answer has a request answered, and fills in its status. It is deleted in any case. Its errors are of type *RefusalError, or
// explained.
func (c *Client) Answer(ctx context.Context, obj *v1alpha1.TwinRequest) (err error) {
	obj.GenerateName, obj.Labels, obj.Spec.TTL.Duration = cluster.FieldManager+"-", c.labels, ttl
	if err := c.client.Create(ctx, obj, client.FieldOwner(cluster.FieldManager)); err != nil {
		return cluster.Explained(err)
	}
	defer func() { err = errors.Join(err, c.delete(ctx, obj)) }()
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answered, err := watchtools.Until(waiting, obj.ResourceVersion, c.watcher(obj), func(e watch.Event) (bool, error) {
		seen, ok := e.Object.(*v1alpha1.TwinRequest)
		switch {
		case e.Type == watch.Deleted:
			return false, errors.New("the request was deleted before it was answered")
		case !ok:
			return false, apierrors.FromObject(e.Object)
		}
		return seen.Status.CompletedAt != nil, nil
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case waiting.Err() != nil:
		return fmt.Errorf("no manager has answered within %s: is one running, and does it keep namespace %s? See kubectl twin doctor", patience, obj.Namespace)
	case err != nil:
		return cluster.Explained(err)
	}
	seen, ok := answered.Object.(*v1alpha1.TwinRequest)
	if !ok {
		return fmt.Errorf("the API server answered with a %T", answered.Object)
	}
	obj.Status = seen.Status
	ready := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionReady)
	if ready != nil && ready.Status != metav1.ConditionTrue {
		return &RefusalError{Reason: ready.Reason, Message: ready.Message}
	}
	return nil
}

// watcher watches one request.
func (c *Client) watcher(obj *v1alpha1.TwinRequest) cache.Watcher {
	name := fields.OneTermEqualSelector(metav1.ObjectNameField, obj.Name)
	return &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
		return c.client.Watch(ctx, &v1alpha1.TwinRequestList{}, client.InNamespace(obj.Namespace),
			client.MatchingFieldsSelector{Selector: name}, &client.ListOptions{Raw: &options})
	}}
}

// delete deletes a request, also after an interruption. One that may not be deleted goes by its ttl.
func (c *Client) delete(ctx context.Context, obj *v1alpha1.TwinRequest) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := c.client.Delete(ctx, obj, client.Preconditions{UID: &obj.UID})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	return cluster.Explained(err)
}

package controllers

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// send tells a controller of an object, and waits until it has taken the news; it
// reports false when ctx ended before.
func send(ctx context.Context, to chan<- event.GenericEvent, obj client.Object) bool {
	select {
	case to <- event.GenericEvent{Object: obj}:
		return true
	case <-ctx.Done():
		return false
	}
}

// connectionNamed is a HubConnection by its name alone, as news of it need it.
func connectionNamed(key types.NamespacedName) *v1alpha1.HubConnection {
	return &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
}

package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The labels of a ConfigMap that the Reconciler looks at.
const (
	deviceLabel   = "device"
	locationLabel = "location"
)

// Reconciler copies the label "location" of a ConfigMap into the tag of the
// same name of the device that the label "device" names.
type Reconciler struct {
	Client client.Client
	Hub    *Hub
}

// SetupWithManager has the Reconciler called for every ConfigMap.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).For(&corev1.ConfigMap{}).Complete(r)
}

// Reconcile makes the tag what the label is. An error has it called again,
// later and later.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var config corev1.ConfigMap
	if err := r.Client.Get(ctx, request.NamespacedName, &config); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	deviceID := config.Labels[deviceLabel]
	if deviceID == "" {
		return ctrl.Result{}, nil
	}
	var location any // null takes the tag away
	if label, found := config.Labels[locationLabel]; found {
		location = label
	}
	return ctrl.Result{}, r.Hub.SetTag(ctx, deviceID, "location", location)
}

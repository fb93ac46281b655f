package v1alpha1

// CleanupFinalizer keeps a DeviceTwin of deletionPolicy Clear or Delete until the
// hub is cleaned up, or the time for it is over.
const CleanupFinalizer = "iothub.devicetwin.io/cleanup"

// ReconcileAtAnnotation asks for a reconcile at once, whatever the object's interval:
// each new value, by convention the time of the request, counts once. The value that
// was acted upon last is in status.lastHandledReconcileAt.
const ReconcileAtAnnotation = "iothub.devicetwin.io/reconcileAt"

// GuardResetAnnotation on a HubConnection resumes the changes that
// spec.guard has stopped: each new value, by convention the time, counts once. The
// value that was acted upon last is in status.guard.lastHandledReset.
const GuardResetAnnotation = "iothub.devicetwin.io/guardReset"

// HubReference names the HubConnection to use.
type HubReference struct {
	// name of the HubConnection.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace of the HubConnection; the object's own namespace when left out.
	// A HubConnection of another namespace must admit this one in its
	// spec.allowedNamespaces.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// NamespaceOr returns the namespace that the reference points into, given the
// namespace of the object that holds it.
func (r HubReference) NamespaceOr(own string) string {
	if r.Namespace != "" {
		return r.Namespace
	}
	return own
}

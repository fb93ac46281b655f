package v1alpha1

// RegistrationRecord tells which device or module an object registered.
type RegistrationRecord struct {
	// target is the twin as host/device or host/device/module. The record counts for
	// no other one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=520
	Target string `json:"target,omitempty"`

	// uid of the object that registered it. The record counts for no other one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`

	// credentials are hashes of the keys that it may have been registered with. They
	// are written before the hub is asked, so that the device is recognized when the
	// answer is lost.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=64
	Credentials []string `json:"credentials,omitempty"`

	// generationId of the device or module, once it is known to be registered.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	GenerationID string `json:"generationId,omitempty"`

	// refused is true when the hub refused to register it: nothing is registered, and
	// there is nothing to clean up.
	// +optional
	Refused bool `json:"refused,omitempty"`

	// authenticationPending is true while the device or module has the keys that it
	// was recognized by, and not yet what spec.authentication says.
	// +optional
	AuthenticationPending bool `json:"authenticationPending,omitempty"`
}

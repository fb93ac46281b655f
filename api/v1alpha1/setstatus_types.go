package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SetPhase is where a rollout stands.
type SetPhase string

// The phases of a rollout.
const (
	// SetProgressing: devices of a wave are written, or are waited for.
	SetProgressing SetPhase = "Progressing"
	// SetSoaking: a wave is complete, and watched.
	SetSoaking SetPhase = "Soaking"
	// SetAwaitingApproval: a wave is complete, and what follows needs an approval.
	SetAwaitingApproval SetPhase = "AwaitingApproval"
	// SetPaused: spec.rollout.paused is true.
	SetPaused SetPhase = "Paused"
	// SetFailed: too many devices failed.
	SetFailed SetPhase = "Failed"
	// SetAborted: a user has stopped the revision.
	SetAborted SetPhase = "Aborted"
	// SetRollingBack: the stable revision is written to the devices that hold another one.
	SetRollingBack SetPhase = "RollingBack"
	// SetRolledBack: all devices hold the stable revision again.
	SetRolledBack SetPhase = "RolledBack"
	// SetComplete: all devices hold the revision.
	SetComplete SetPhase = "Complete"
	// SetCompletedWithOffline: all devices hold the revision, and some have not been connected since.
	SetCompletedWithOffline SetPhase = "CompletedWithOffline"
)

// SetCounts count devices, as the hub's index shows them.
type SetCounts struct {
	// selected by the selector.
	// +optional
	Selected int64 `json:"selected"`

	// written devices are selected, and hold the revision.
	// +optional
	Written int64 `json:"written"`

	// acknowledged devices are written, and have taken the desired properties over. Equal to written where the template declares none.
	// +optional
	Acknowledged int64 `json:"acknowledged"`

	// rejected devices are written, and refused a desired property.
	// +optional
	Rejected int64 `json:"rejected"`

	// offline devices are written, have not acknowledged, and are not connected.
	// +optional
	Offline int64 `json:"offline"`

	// pending devices are written, connected, and have neither acknowledged nor rejected.
	// +optional
	Pending int64 `json:"pending"`

	// overridden devices are selected, and a DeviceTwin declares some of the leaves, which it keeps.
	// +optional
	Overridden int64 `json:"overridden"`

	// conflicting devices are selected, and an older set declares some of the leaves, or the hub holds another writer's
	// value where writing would wipe it.
	// +optional
	Conflicting int64 `json:"conflicting"`
}

// SetWaveStatus is how far a wave has come.
type SetWaveStatus struct {
	// name of the wave.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name,omitempty"`

	// written devices of the wave hold the revision.
	// +optional
	Written int64 `json:"written"`

	// acknowledged devices of the wave have taken the desired properties over.
	// +optional
	Acknowledged int64 `json:"acknowledged"`

	// failed devices of the wave refused a desired property, or did not acknowledge in time.
	// +optional
	Failed int64 `json:"failed"`

	// offline devices of the wave that have not acknowledged.
	// +optional
	Offline int64 `json:"offline"`

	// forgiven are failed devices that no longer count, since the rollout was resumed after
	// they had failed.
	// +optional
	Forgiven int64 `json:"forgiven,omitempty"`

	// completedAt is when the wave was complete.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}

// SetExample is a device that is worth looking at.
type SetExample struct {
	// deviceId of the device.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	DeviceID string `json:"deviceId,omitempty"`

	// reason in one word: RejectedByDevice, NotAcknowledged, Conflict, Contended,
	// RefusedByHub, OwnedElsewhere.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message says more.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
}

// DeviceTwinSetStatus is where the rollout stands.
type DeviceTwinSetStatus struct {
	// conditions are Ready, and Reconciling or Stalled while they hold.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of;
	// -1 before the first reconcile, which tells tools to wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// revision that the devices are brought to.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Revision string `json:"revision,omitempty"`

	// stableRevision is the last one that was complete: what a rollback returns to.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	StableRevision string `json:"stableRevision,omitempty"`

	// failedRevision was rolled back from. It is not written again until the template is
	// edited, or the annotation iothub.devicetwin.io/rollout asks for it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	FailedRevision string `json:"failedRevision,omitempty"`

	// phase of the rollout.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Phase SetPhase `json:"phase,omitempty"`

	// wave that is written, soaks, or waits for an approval.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Wave string `json:"wave,omitempty"`

	// inFlight are the devices that are written, and have neither acknowledged, failed nor been
	// found offline. They are noted before they are written, so that
	// spec.rollout.maxInFlight holds over a restart as well. There are none with success.from Written.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=128
	InFlight []string `json:"inFlight,omitempty"`

	// counts of devices.
	// +optional
	Counts SetCounts `json:"counts,omitzero"`

	// waves of the revision, in their order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=17
	Waves []SetWaveStatus `json:"waves,omitempty"`

	// eta is about when the last device is written, at the pace of late.
	// +optional
	ETA *metav1.Time `json:"eta,omitempty"`

	// observedAt is when these counts were first seen: it moves with them, not with the clock.
	// The hub's index follows its twins with delay.
	// +optional
	ObservedAt *metav1.Time `json:"observedAt,omitempty"`

	// examples of devices that failed, or that could not be written.
	// +optional
	// +listType=map
	// +listMapKey=deviceId
	// +kubebuilder:validation:MaxItems=20
	Examples []SetExample `json:"examples,omitempty"`

	// lastHandledRollout is the value of the annotation iothub.devicetwin.io/rollout that was last
	// acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledRollout string `json:"lastHandledRollout,omitempty"`

	// lastHandledReconcileAt is the value of the annotation
	// iothub.devicetwin.io/reconcileAt that was last acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

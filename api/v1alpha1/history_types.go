package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// WriteCause is why a twin was written.
// +kubebuilder:validation:Enum=Edit;Drift;Registration
type WriteCause string

const (
	// WriteCauseEdit is a declaration that the hub did not hold before: a new object, or
	// one that was edited.
	WriteCauseEdit WriteCause = "Edit"
	// WriteCauseDrift is another writer's change that was taken back.
	WriteCauseDrift WriteCause = "Drift"
	// WriteCauseRegistration is the first write to a device or module that was
	// registered for the object.
	WriteCauseRegistration WriteCause = "Registration"
)

// WithheldValue says why a value is not shown as it is.
// +kubebuilder:validation:Enum=Hidden;Cut
type WithheldValue string

const (
	// WithheldHidden stands by values of which one may be a credential.
	WithheldHidden WithheldValue = "Hidden"
	// WithheldCut stands by values of which one is longer than is kept.
	WithheldCut WithheldValue = "Cut"
)

// TwinWrite is one write of tags or desired properties that the hub accepted.
type TwinWrite struct {
	// time of the hub's answer, by the manager's clock.
	// +required
	Time metav1.Time `json:"time,omitzero"`

	// generation of the spec that was written.
	// +optional
	Generation int64 `json:"generation,omitempty"`

	// cause is Edit where the declaration was new to the hub, Drift where another writer's
	// change was taken back, Registration where the device had just been registered.
	// +required
	Cause WriteCause `json:"cause,omitempty"`

	// manager is the field manager that edited the spec last before the write, as
	// metadata.managedFields names it.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Manager string `json:"manager,omitempty"`

	// etagBefore is the twin's etag that the write was conditional on.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ETagBefore string `json:"etagBefore,omitempty"`

	// etagAfter is the twin's etag after the write.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ETagAfter string `json:"etagAfter,omitempty"`

	// requestID is the hub's id of the request, for a support case.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestID string `json:"requestID,omitempty"`

	// changes are the leaves that were written or deleted, as far as there is room.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Changes []LeafChange `json:"changes,omitempty"`

	// omitted counts the leaves that changes has no room for.
	// +optional
	Omitted int32 `json:"omitted,omitempty"`
}

// LeafChange is one leaf of a twin before and after a write.
type LeafChange struct {
	// path of the leaf: tags.location.plant.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=512
	Path string `json:"path,omitempty"`

	// before is the value that the hub held; left out when it held none.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Before *runtime.RawExtension `json:"before,omitempty"`

	// after is the value that was written; left out for a leaf that was deleted.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	After *runtime.RawExtension `json:"after,omitempty"`

	// withheld is Hidden where a value may be a credential, and Cut where one is longer
	// than 512 bytes: before and after are texts in place of the values then. Left out
	// where they are the values.
	// +optional
	Withheld WithheldValue `json:"withheld,omitempty"`
}

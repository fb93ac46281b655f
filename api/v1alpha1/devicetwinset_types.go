package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// SetMarkerTag is the tag under which DeviceTwinSets note in a twin which revision it
// holds: tags.deviceTwinSets.<namespace>_<name> with the members revision and wave. It
// goes with what it speaks of, in one write, and is for the sets alone to write.
const SetMarkerTag = "deviceTwinSets"

// ApproveAnnotation on a DeviceTwinSet approves what comes behind a wave that waits for it:
// <revision>/<wave>, as status.revision and status.wave name them. It counts for that wave of
// that revision alone.
const ApproveAnnotation = "iothub.devicetwin.io/approve"

// RolloutAnnotation on a DeviceTwinSet says what to do about a revision:
// <revision>/abort stops it where it is, <revision>/rollback returns to
// status.stableRevision, and <revision>/resume goes on after it was aborted or has failed. Each
// value counts once: the same is asked for again with a suffix, as <revision>/resume/2. The last
// one is in status.lastHandledRollout.
const RolloutAnnotation = "iothub.devicetwin.io/rollout"

// SetSelector selects the devices of a DeviceTwinSet.
//
// +kubebuilder:validation:XValidation:rule="has(self.where) != has(self.deviceIds)",message="exactly one of where and deviceIds is required",reason=FieldValueInvalid
type SetSelector struct {
	// where is a condition in IoT Hub's query language, as that of a TwinQuery.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4000
	Where string `json:"where,omitempty"`

	// deviceIds lists the devices. Those that the hub does not know are left out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9\-.+%_#*?!(),:;=@$']+$`
	DeviceIDs []string `json:"deviceIds,omitempty"`
}

// SetTemplate is what each device of a DeviceTwinSet is to hold.
type SetTemplate struct {
	// tags to keep on each twin, by the rules of a DeviceTwin.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Tags *runtime.RawExtension `json:"tags,omitempty"`

	// desired properties to keep on each twin, by the rules of a DeviceTwin.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Desired *runtime.RawExtension `json:"desired,omitempty"`
}

// SetPolicy says what to do on the hub about a device that goes, or about all of them.
// +kubebuilder:validation:Enum=Retain;Clear
type SetPolicy string

const (
	// SetRetain leaves what was written.
	SetRetain SetPolicy = "Retain"
	// SetClear deletes the leaves that hold a value of ours.
	SetClear SetPolicy = "Clear"
)

// DeviceTwinSetSpec declares the same leaves for all devices that a condition selects.
//
// +kubebuilder:validation:XValidation:rule="self.hubRef == oldSelf.hubRef",message="hubRef is immutable: create another DeviceTwinSet",fieldPath=".hubRef",reason=FieldValueForbidden
type DeviceTwinSetSpec struct {
	// hubRef names the HubConnection of the devices' hub. Immutable.
	// +required
	HubRef HubReference `json:"hubRef,omitzero"`

	// selector selects the devices.
	// +required
	Selector SetSelector `json:"selector,omitzero"`

	// maxDevices is how many devices the selector is meant to select at most. Where it selects
	// more, nothing is written.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxDevices int32 `json:"maxDevices,omitempty"`

	// template is what each device is to hold. It must not write what the selector or a wave
	// reads.
	// +required
	Template SetTemplate `json:"template,omitzero"`

	// policy of all declared leaves, as that of a DeviceTwin.
	// +optional
	// +kubebuilder:default=Enforce
	Policy LeafPolicy `json:"policy,omitempty"`

	// policies of parts of the template, in place of policy; the longest path that
	// leads to a leaf counts.
	// +optional
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=32
	Policies []PathPolicy `json:"policies,omitempty"`

	// rollout says how a revision comes to the devices.
	// +optional
	// +kubebuilder:default={}
	Rollout SetRollout `json:"rollout,omitzero"`

	// interval between two looks at a hub that holds what is declared: for devices that joined
	// or left, and for what another writer changed.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s') && duration(self) <= duration('24h')",message="must be from 5s to 24h",reason=FieldValueInvalid
	Interval metav1.Duration `json:"interval,omitzero"`

	// onLeave says what to do about a device that is no longer selected: Retain leaves its
	// twin but for the marker, Clear deletes the leaves that hold a value of ours.
	// +optional
	// +kubebuilder:default=Retain
	OnLeave SetPolicy `json:"onLeave,omitempty"`

	// deletionPolicy says what to do on the hub when this object is deleted: Retain leaves
	// all twins as they are, Clear deletes the leaves that hold a value of ours. Clear is
	// tried for as long as the hub answers, and ten minutes where it does not.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy SetPolicy `json:"deletionPolicy,omitempty"`

	// revisionHistoryLimit is how many revisions are kept besides those that a device holds.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	RevisionHistoryLimit *int32 `json:"revisionHistoryLimit,omitempty"`

	// suspend stops the controller from reading and writing any twin for this set. Nothing on
	// the hub changes when it is set.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// DeviceTwinSet keeps the same tags and desired properties on all devices that a
// condition selects, without an object for each, and brings a new revision of them out in waves.
//
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label, at most 63 characters of a-z, 0-9 and -: it stands in the twins",reason=FieldValueInvalid
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=twinset,categories=iothub
// +kubebuilder:selectablefield:JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Devices",type=integer,JSONPath=`.status.counts.selected`
// +kubebuilder:printcolumn:name="In step",type=integer,JSONPath=`.status.counts.written`
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,JSONPath=`.status.counts.acknowledged`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="ETA",type=date,JSONPath=`.status.eta`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Wave",type=string,priority=1,JSONPath=`.status.wave`
// +kubebuilder:printcolumn:name="Hub",type=string,priority=1,JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type DeviceTwinSet struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of objects. The name is a DNS label.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares devices, what they hold, and how it comes to them.
	// +required
	Spec DeviceTwinSetSpec `json:"spec,omitzero"`

	// status is where the rollout stands.
	// +optional
	// +kubebuilder:default={observedGeneration:-1}
	Status DeviceTwinSetStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions to be changed in place.
func (s *DeviceTwinSet) GetConditions() *[]metav1.Condition { return &s.Status.Conditions }

// DeviceTwinSetList is a list of DeviceTwinSets.
//
// +kubebuilder:object:root=true
type DeviceTwinSetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DeviceTwinSet `json:"items"`
}

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
// value counts once; the last one is in status.lastHandledRollout.
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

// AfterWave says what follows a wave that is complete.
// +kubebuilder:validation:Enum=Continue;Approve
type AfterWave string

const (
	// AfterWaveContinue goes on with the next wave.
	AfterWaveContinue AfterWave = "Continue"
	// AfterWaveApprove waits for the annotation iothub.devicetwin.io/approve.
	AfterWaveApprove AfterWave = "Approve"
)

// SetWave is a part of the devices that is written before the rest.
//
// +kubebuilder:validation:XValidation:rule="has(self.where) != has(self.percent)",message="exactly one of where and percent is required",reason=FieldValueInvalid
type SetWave struct {
	// name of the wave. "rest" is the one that takes all devices which no wave took.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self != 'rest'",message="is the name of the wave that takes what is left",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`

	// where selects the wave's devices among those of the set, by a condition as that of the
	// selector.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2000
	Where string `json:"where,omitempty"`

	// percent of the set's devices, those whose place it is: a hash of the device's id and
	// the revision, so that the same device has the same place after joins, restarts and
	// on every replica.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent,omitempty"`

	// maxInFlight in place of the rollout's.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxInFlight int32 `json:"maxInFlight,omitempty"`

	// soak is how long the wave is watched after it is complete, before what follows.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('720h')",message="must be at most 720h",reason=FieldValueInvalid
	Soak metav1.Duration `json:"soak,omitzero"`

	// then says what follows the wave.
	// +optional
	// +kubebuilder:default=Continue
	Then AfterWave `json:"then,omitempty"`
}

// SuccessFrom says from when on a device counts as a success.
// +kubebuilder:validation:Enum=Acknowledged;Written
type SuccessFrom string

const (
	// SuccessFromAcknowledged counts devices that have taken over the desired properties.
	SuccessFromAcknowledged SuccessFrom = "Acknowledged"
	// SuccessFromWritten counts devices whose twin the hub holds as declared.
	SuccessFromWritten SuccessFrom = "Written"
)

// RolloutSuccess says when a wave is complete.
type RolloutSuccess struct {
	// from when on a device counts. A template without desired properties counts as
	// written, since there is nothing to acknowledge.
	// +optional
	// +kubebuilder:default=Acknowledged
	From SuccessFrom `json:"from,omitempty"`

	// percent of the wave's devices that have to count, those left out that are offline.
	// +optional
	// +kubebuilder:default=95
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent,omitempty"`

	// within is how long a device that is connected may take to acknowledge before it counts as failed.
	// +optional
	// +kubebuilder:default="30m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('720h')",message="must be from 1s to 720h",reason=FieldValueInvalid
	Within metav1.Duration `json:"within,omitzero"`
}

// FailureAction says what to do when too many devices fail.
// +kubebuilder:validation:Enum=Pause;RollBack
type FailureAction string

const (
	// FailurePause stops the revision where it is.
	FailurePause FailureAction = "Pause"
	// FailureRollBack writes the stable revision to the devices that hold this one. Where there is
	// no stable revision yet, it is Pause.
	FailureRollBack FailureAction = "RollBack"
)

// RolloutFailure says when a revision has failed, and what follows.
type RolloutFailure struct {
	// percent of the devices that answered which may fail: reject the desired properties, or
	// not acknowledge them in time.
	// +optional
	// +kubebuilder:default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Percent *int32 `json:"percent,omitempty"`

	// minSample is how many devices must have answered before the percentage counts. A wave
	// with fewer devices is judged once all of them have answered.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MinSample int32 `json:"minSample,omitempty"`

	// action when the revision has failed.
	// +optional
	// +kubebuilder:default=Pause
	Action FailureAction `json:"action,omitempty"`
}

// OfflineDevices says how devices count that are not connected.
// +kubebuilder:validation:Enum=Skip;Wait
type OfflineDevices string

const (
	// OfflineSkip writes them, and waits for none of them.
	OfflineSkip OfflineDevices = "Skip"
	// OfflineWait writes them, and keeps the wave from being complete until they have
	// acknowledged.
	OfflineWait OfflineDevices = "Wait"
)

// Joiners says when devices are written that are selected after the rollout has begun.
// +kubebuilder:validation:Enum=AfterTheirWave;AtOnce;Hold
type Joiners string

const (
	// JoinersAfterTheirWave writes a device when the wave has come that it belongs to.
	JoinersAfterTheirWave Joiners = "AfterTheirWave"
	// JoinersAtOnce writes a device that holds no revision yet out of turn, if there is a stable
	// revision: that one, until its wave has come.
	JoinersAtOnce Joiners = "AtOnce"
	// JoinersHold writes a device that holds no revision yet, where there is a stable revision,
	// only when the rollout is complete.
	JoinersHold Joiners = "Hold"
)

// SetRollout says how a revision comes to the devices.
//
// +kubebuilder:validation:XValidation:rule="!has(self.waves) || self.waves.all(w, !has(w.percent)) || self.waves.filter(w, has(w.percent)).map(w, w.percent).sum() <= 100",message="the percentages of waves are more than 100 together",fieldPath=".waves",reason=FieldValueInvalid
type SetRollout struct {
	// waves in their order. A device belongs to the first one that takes it. Those that no wave
	// takes are the last wave, called rest. Without waves all devices are that wave.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Waves []SetWave `json:"waves,omitempty"`

	// maxInFlight is how many devices at most are written and have neither acknowledged,
	// failed nor been found offline. With success.from Written it bounds the writes that are under way.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxInFlight int32 `json:"maxInFlight,omitempty"`

	// success says when a wave is complete.
	// +optional
	// +kubebuilder:default={}
	Success RolloutSuccess `json:"success,omitzero"`

	// failure says when a revision has failed.
	// +optional
	// +kubebuilder:default={}
	Failure RolloutFailure `json:"failure,omitzero"`

	// offline says how devices count that are not connected.
	// +optional
	// +kubebuilder:default=Skip
	Offline OfflineDevices `json:"offline,omitempty"`

	// joiners says when devices are written that come to be selected during a rollout.
	// +optional
	// +kubebuilder:default=AfterTheirWave
	Joiners Joiners `json:"joiners,omitempty"`

	// paused keeps the set from writing anything, and from going on to another wave. What it
	// counts is still refreshed.
	// +optional
	Paused bool `json:"paused,omitempty"`
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

	// written: selected, and holding the revision.
	// +optional
	Written int64 `json:"written"`

	// acknowledged: written, and the device has taken the desired properties over. Equal to written where the template declares none.
	// +optional
	Acknowledged int64 `json:"acknowledged"`

	// rejected: written, and the device refused a desired property.
	// +optional
	Rejected int64 `json:"rejected"`

	// offline: written, not acknowledged, and not connected.
	// +optional
	Offline int64 `json:"offline"`

	// pending: written, connected, and neither acknowledged nor rejected.
	// +optional
	Pending int64 `json:"pending"`

	// overridden: selected, and a DeviceTwin declares some of the leaves, which it keeps.
	// +optional
	Overridden int64 `json:"overridden"`

	// conflicting: an older set declares some of the leaves, or the hub holds another writer's
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

	// written, acknowledged and failed devices of the wave that hold the revision.
	// +optional
	Written int64 `json:"written"`
	// +optional
	Acknowledged int64 `json:"acknowledged"`
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

// DeviceTwinSet keeps the same tags and desired properties on all devices that a
// condition selects, without an object for each, and brings a new revision of them out in waves.
//
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

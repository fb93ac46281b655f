package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
// +kubebuilder:validation:XValidation:rule="!has(self.waves) || self.waves.map(w, has(w.percent) ? w.percent : 0).sum() <= 100",message="the percentages of waves are more than 100 together; what is left is the wave rest",fieldPath=".waves",reason=FieldValueInvalid
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

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// DeviceTwinSpec declares tags and desired properties of one device. It owns
// exactly the leaves it names: everything else in the twin is left alone.
//
// +kubebuilder:validation:XValidation:rule="self.hubRef == oldSelf.hubRef",message="hubRef is immutable: create another DeviceTwin",fieldPath=".hubRef",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="self.deviceId == oldSelf.deviceId",message="deviceId is immutable: create another DeviceTwin",fieldPath=".deviceId",reason=FieldValueForbidden
type DeviceTwinSpec struct {
	// hubRef names the HubConnection of the device's hub. Immutable.
	// +required
	HubRef HubReference `json:"hubRef,omitzero"`

	// deviceId of the device, as registered with the hub: case-sensitive, letters,
	// digits and - . + % _ # * ? ! ( ) , : = @ $ '. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9\-.+%_#*?!(),:=@$']+$`
	DeviceID string `json:"deviceId,omitempty"`

	// tags to keep on the twin, in the shape that the hub stores them. A key that
	// leaves this field leaves the hub too, if the hub still holds the value that
	// was declared. At most 8 KB by the hub's accounting.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Tags *runtime.RawExtension `json:"tags,omitempty"`

	// desired properties to keep on the twin, by the same rules as tags. At most
	// 32 KB by the hub's accounting.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Desired *runtime.RawExtension `json:"desired,omitempty"`

	// suspend stops the controller from reading and writing this twin. Nothing on
	// the hub changes when it is set.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ConnectionState is the hub's view of a device's connection.
type ConnectionState string

const (
	// Connected says that the hub saw the device connected.
	Connected ConnectionState = "Connected"
	// Disconnected says that the hub saw the device disconnected.
	Disconnected ConnectionState = "Disconnected"
)

// DeviceConnection is the hub's view of a device's connection, as old as the
// last read of the twin. IoT Hub may be minutes late with it.
type DeviceConnection struct {
	// state is Connected or Disconnected.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	State ConnectionState `json:"state,omitempty"`

	// since is when the controller first saw this state.
	// +required
	Since metav1.Time `json:"since,omitzero"`
}

// DeviceTwinStatus is what was last seen of the twin.
type DeviceTwinStatus struct {
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are Ready and Synced, and Reconciling or Stalled while they hold.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// etag of the twin: moves with every write of a back end, ours or another's.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ETag string `json:"etag,omitempty"`

	// desiredVersion is the twin's desired.$version.
	// +optional
	DesiredVersion int64 `json:"desiredVersion,omitempty"`

	// connectivity is the string that the device reports at
	// properties.reported.connectivity, cut at 256 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Connectivity string `json:"connectivity,omitempty"`

	// connection is the hub's view of the device's connection.
	// +optional
	Connection *DeviceConnection `json:"connection,omitempty"`

	// reported mirrors the device's reported properties, without $metadata and
	// $version, as far as 4096 bytes go.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +mapType=atomic
	Reported *runtime.RawExtension `json:"reported,omitempty"`

	// reportedTruncated says what is missing in reported, when something is.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ReportedTruncated string `json:"reportedTruncated,omitempty"`

	// memberships are the names of the TwinQueries of this namespace that select
	// this device, the first 32 in alphabetical order.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	Memberships []string `json:"memberships,omitempty"`
}

// DeviceTwin declares the tags and desired properties of one device's twin and
// mirrors what is seen of it. Deleting it leaves the hub untouched.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=twin,categories=iothub
// +kubebuilder:selectablefield:JSONPath=`.spec.deviceId`
// +kubebuilder:selectablefield:JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Device",type=string,JSONPath=`.spec.deviceId`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Connectivity",type=string,JSONPath=`.status.connectivity`
// +kubebuilder:printcolumn:name="Connection",type=string,JSONPath=`.status.connection.state`
// +kubebuilder:printcolumn:name="Queries",type=string,JSONPath=`.status.memberships`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Hub",type=string,priority=1,JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Etag",type=string,priority=1,JSONPath=`.status.etag`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type DeviceTwin struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares tags and desired properties.
	// +required
	Spec DeviceTwinSpec `json:"spec,omitzero"`

	// status is what was last seen of the twin.
	// +optional
	Status DeviceTwinStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions to be changed in place.
func (d *DeviceTwin) GetConditions() *[]metav1.Condition { return &d.Status.Conditions }

// DeviceTwinList is a list of DeviceTwins.
//
// +kubebuilder:object:root=true
type DeviceTwinList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DeviceTwin `json:"items"`
}

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// LeafPolicy says what to do about declared leaves that the hub does not hold.
// +kubebuilder:validation:Enum=Enforce;Yield;Initialize;Observe
type LeafPolicy string

const (
	// PolicyEnforce writes the declared value over any other.
	PolicyEnforce LeafPolicy = "Enforce"
	// PolicyYield writes the declared value and leaves the value that another
	// writer put there later. An edit of the declaration is written once, even over
	// such a value.
	PolicyYield LeafPolicy = "Yield"
	// PolicyInitialize writes only where nothing is.
	PolicyInitialize LeafPolicy = "Initialize"
	// PolicyObserve never writes, and shows in status.plan what it would.
	PolicyObserve LeafPolicy = "Observe"
)

// PathPolicy sets the policy of a part of the twin.
type PathPolicy struct {
	// path of the part: tags or desired, and keys, joined by dots:
	// tags.location.plant. It covers everything at and below it.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(tags|desired)(\..*)?$`
	Path string `json:"path,omitempty"`

	// policy of the part.
	// +required
	Policy LeafPolicy `json:"policy,omitempty"`
}

// DeletionPolicy says what to do on the hub when the object is deleted.
// +kubebuilder:validation:Enum=Retain;Clear;Delete
type DeletionPolicy string

const (
	// DeletionRetain leaves the hub as it is.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionClear deletes the leaves that hold a value of ours.
	DeletionClear DeletionPolicy = "Clear"
	// DeletionDelete deletes the device or module, if this object registered it;
	// else it clears.
	DeletionDelete DeletionPolicy = "Delete"
)

// Registration says what to do about a device or module that the hub does not know.
// +kubebuilder:validation:Enum=Require;Create
type Registration string

const (
	// RegistrationRequire waits until another client registers it.
	RegistrationRequire Registration = "Require"
	// RegistrationCreate registers it, once.
	RegistrationCreate Registration = "Create"
)

// DeviceAuthentication is how a device that is registered here proves who it is.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'selfSigned' ? has(self.primaryThumbprint) : !has(self.primaryThumbprint) && !has(self.secondaryThumbprint)",message="thumbprints are required with type selfSigned, and only there",reason=FieldValueInvalid
type DeviceAuthentication struct {
	// type is sas (keys, which are generated), selfSigned (certificates with these
	// thumbprints) or certificateAuthority (any certificate of the hub's CAs).
	// +optional
	// +kubebuilder:default=sas
	// +kubebuilder:validation:Enum=sas;selfSigned;certificateAuthority
	Type string `json:"type,omitempty"`

	// primaryThumbprint of the certificate, SHA-1 or SHA-256 in hexadecimal.
	// +optional
	// +kubebuilder:validation:MinLength=40
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$`
	PrimaryThumbprint string `json:"primaryThumbprint,omitempty"`

	// secondaryThumbprint for rolling over.
	// +optional
	// +kubebuilder:validation:MinLength=40
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^([0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})$`
	SecondaryThumbprint string `json:"secondaryThumbprint,omitempty"`
}

// DeviceTwinSpec declares tags and desired properties of one device. It owns
// exactly the leaves it names: everything else in the twin is left alone.
//
// +kubebuilder:validation:XValidation:rule="self.hubRef == oldSelf.hubRef",message="hubRef is immutable: create another DeviceTwin",fieldPath=".hubRef",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="self.deviceId == oldSelf.deviceId",message="deviceId is immutable: create another DeviceTwin",fieldPath=".deviceId",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="has(self.moduleId) == has(oldSelf.moduleId) && (!has(self.moduleId) || self.moduleId == oldSelf.moduleId)",message="moduleId is immutable, and cannot be added or dropped: create another DeviceTwin",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="self.registration == 'Create' || !has(self.connectionSecretName) && !has(self.authentication)",message="connectionSecretName and authentication go with registration: Create",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.connectionSecretName) || !has(self.authentication) || self.authentication.type == 'sas'",message="connectionSecretName goes with authentication of type sas: there are no keys to keep otherwise",fieldPath=".connectionSecretName",reason=FieldValueInvalid
type DeviceTwinSpec struct {
	// hubRef names the HubConnection of the device's hub. Immutable.
	// +required
	HubRef HubReference `json:"hubRef,omitzero"`

	// deviceId of the device, as registered with the hub: case-sensitive, letters,
	// digits and - . + % _ # * ? ! ( ) , : ; = @ $ '. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9\-.+%_#*?!(),:;=@$']+$`
	DeviceID string `json:"deviceId,omitempty"`

	// moduleId makes this the twin of a module of the device instead of the
	// device's own. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9\-.+%_#*?!(),:;=@$']+$`
	ModuleID string `json:"moduleId,omitempty"`

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

	// policy of all declared leaves: Enforce restores them, Yield leaves another
	// writer's value and says so, Initialize writes only where nothing is, Observe
	// never writes and shows the plan.
	// +optional
	// +kubebuilder:default=Enforce
	Policy LeafPolicy `json:"policy,omitempty"`

	// policies of parts of the twin, in place of policy; the longest path that
	// leads to a leaf counts.
	// +optional
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=32
	Policies []PathPolicy `json:"policies,omitempty"`

	// mirror says what of the reported properties to show in the status.
	// +optional
	// +kubebuilder:default={}
	Mirror Mirror `json:"mirror,omitzero"`

	// acknowledgeTimeout is how long after the hub has a desired property the
	// device may take to acknowledge it before the condition Acknowledged says
	// NotAcknowledged.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('720h')",message="must be from 1s to 720h",reason=FieldValueInvalid
	AcknowledgeTimeout metav1.Duration `json:"acknowledgeTimeout,omitzero"`

	// registration Create registers the device or module if the hub does not know
	// it. That takes a credential with the RegistryRead and RegistryWrite
	// permissions. One that was registered and is then gone is not registered again.
	// +optional
	// +kubebuilder:default=Require
	Registration Registration `json:"registration,omitempty"`

	// authentication of a device or module that is registered here, sas when left
	// out. It counts at registration only.
	// +optional
	Authentication *DeviceAuthentication `json:"authentication,omitempty"`

	// connectionSecretName is the Secret, in this object's namespace, to keep the
	// connection string of a device or module registered here with type sas. A
	// Secret of that name which is not this object's own is never touched.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ConnectionSecretName string `json:"connectionSecretName,omitempty"`

	// deletionPolicy says what to do on the hub when this object is deleted: Retain
	// leaves it as it is, Clear deletes the leaves that hold a value of ours, Delete
	// deletes the device or module that was registered here. Clear and Delete are
	// tried for ten minutes; then the object goes, and what is left on the hub is
	// said in an event.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

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

// PlannedChange is what would be written to the hub if nothing kept it.
type PlannedChange struct {
	// changes counts the leaves to write.
	// +required
	Changes int32 `json:"changes"`

	// removals counts the leaves to delete.
	// +required
	Removals int32 `json:"removals"`

	// patch is the merge patch that would be sent: tags and properties.desired.
	// Left out when it is longer than 8192 bytes.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +mapType=atomic
	Patch *runtime.RawExtension `json:"patch,omitempty"`
}

// DeviceTwinStatus is what was last seen of the twin, and what was done about it.
type DeviceTwinStatus struct {
	// conditions are Ready and Synced, Acknowledged if desired properties are
	// declared, and Reconciling, Stalled, Drifted and Contended while they hold.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of;
	// -1 before the first reconcile, which tells tools to wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// record tells which leaves of the twin this object may have written, as short
	// hashes of their values; it is packed when it is long. A leaf that leaves the
	// declaration is deleted only while the hub holds a value of the record. It names
	// the hub, the device and the UID of the object, and counts for no others.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	Record string `json:"record,omitempty"`

	// registration tells which device or module this object registered. Left out
	// when it registered none.
	// +optional
	Registration *RegistrationRecord `json:"registration,omitempty"`

	// target is the twin that this object keeps, as host/device or
	// host/device/module. Of several DeviceTwins for one twin only one keeps it: the
	// one that came first. Left out while the object does not keep its twin.
	// +optional
	// +kubebuilder:validation:MaxLength=520
	Target string `json:"target,omitempty"`

	// etag of the twin: moves with every write of a back end, ours or another's.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ETag string `json:"etag,omitempty"`

	// desiredVersion is the twin's desired.$version.
	// +optional
	DesiredVersion int64 `json:"desiredVersion,omitempty"`

	// connectivity is the string that the device reports at
	// properties.reported.connectivity, or at properties.reported.connectivity.type
	// where that is an object, cut at 256 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Connectivity string `json:"connectivity,omitempty"`

	// connection is the hub's view of the device's connection.
	// +optional
	Connection *DeviceConnection `json:"connection,omitempty"`

	// reported mirrors the device's reported properties, without $metadata and
	// $version, as far as spec.mirror goes.
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

	// queries are the memberships in one line, joined by commas, for the column of that
	// name. Cut behind a name where it is longer than 1024 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=1026
	Queries string `json:"queries,omitempty"`

	// plan is what would be written to the hub, and is not: because a policy only
	// observes, because the hub may not be written or because it could not be. Left
	// out when nothing is pending.
	// +optional
	// +structType=atomic
	Plan *PlannedChange `json:"plan,omitempty"`

	// history are the last writes to the hub for this object, newest first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	History []TwinWrite `json:"history,omitempty"`

	// lastHandledReconcileAt is the value of the annotation
	// iothub.devicetwin.io/reconcileAt that was last acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
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
// +kubebuilder:printcolumn:name="Queries",type=string,JSONPath=`.status.queries`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Hub",type=string,priority=1,JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Module",type=string,priority=1,JSONPath=`.spec.moduleId`
// +kubebuilder:printcolumn:name="Acknowledged",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Acknowledged")].status`
// +kubebuilder:printcolumn:name="Etag",type=string,priority=1,JSONPath=`.status.etag`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type DeviceTwin struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of objects.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares tags and desired properties.
	// +required
	Spec DeviceTwinSpec `json:"spec,omitzero"`

	// status is what was last seen of the twin.
	// +optional
	// +kubebuilder:default={observedGeneration:-1}
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

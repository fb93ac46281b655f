package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HubConnectionSpec says how to reach one IoT Hub and who may use it.
//
// +kubebuilder:validation:XValidation:rule="has(self.auth.workloadIdentity) == has(self.hostName)",message="hostName is required with auth.workloadIdentity, and only there: a connection string names its own",fieldPath=".hostName",reason=FieldValueInvalid
type HubConnectionSpec struct {
	// auth is the credential to present to the hub.
	// +required
	Auth HubAuth `json:"auth,omitzero"`

	// hostName of the hub, such as my-hub.azure-devices.net, with
	// auth.workloadIdentity. It must be under the manager's --allowed-host-suffixes.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=261
	HostName string `json:"hostName,omitempty"`

	// caBundle is a PEM bundle of the certificate authorities to trust for this
	// hub instead of the system's: for a private CA, such as a hub emulator's or
	// that of a proxy which inspects TLS.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	CABundle []byte `json:"caBundle,omitempty"`

	// mode ReadOnly keeps everything that refers to this HubConnection from
	// changing the hub; what would be changed shows in each DeviceTwin's
	// status.plan.
	// +optional
	// +kubebuilder:default=ReadWrite
	Mode HubMode `json:"mode,omitempty"`

	// guard is a fuse against a change that touches more twins than intended.
	// +optional
	Guard *Guard `json:"guard,omitempty"`

	// tier is the size of the hub.
	// +optional
	// +kubebuilder:default={sku: S1, units: 1}
	Tier Tier `json:"tier,omitzero"`

	// budget is the share of what the hub allows that the operator takes.
	// +optional
	// +kubebuilder:default={}
	Budget Budget `json:"budget,omitzero"`

	// readBack says how often the hub is asked what has changed there.
	// +optional
	// +kubebuilder:default={}
	ReadBack ReadBack `json:"readBack,omitzero"`

	// allowedNamespaces says from which namespaces DeviceTwins and TwinQueries
	// may refer to this HubConnection; only its own when left out.
	// +optional
	// +kubebuilder:default={from: Same}
	AllowedNamespaces AllowedNamespaces `json:"allowedNamespaces,omitzero"`

	// deviceScopes says which devices the DeviceTwins and TwinQueries of a
	// namespace may claim and find: those whose id begins with a prefix listed for
	// it. Once there is any, a namespace that is not listed may use no device; the
	// HubConnection's own namespace is bound only by entries of its own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	DeviceScopes []DeviceScope `json:"deviceScopes,omitempty"`

	// ownerTag puts a tag on each twin that says who manages it, and refuses twins
	// that carry another owner's: for several clusters that share a hub.
	// +optional
	OwnerTag *OwnerTag `json:"ownerTag,omitempty"`
}

// DeviceScope lets a namespace use the devices whose id begins with a prefix.
type DeviceScope struct {
	// namespace that the scope is for.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// deviceIdPrefix that the ids of its devices begin with, case-sensitive.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9\-.+%_#*?!(),:;=@$']+$`
	DeviceIDPrefix string `json:"deviceIdPrefix,omitempty"`
}

// OwnerTag is a tag that says who manages a twin.
type OwnerTag struct {
	// name of the tag, a key at the top of tags.
	// +optional
	// +kubebuilder:default=managedBy
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	// +kubebuilder:validation:XValidation:rule="self != 'deviceTwinSets'",message="is the tag in which DeviceTwinSets note what they wrote",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`

	// value that stands for this cluster; every cluster needs another.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Value string `json:"value,omitempty"`
}

// HubMode says whether a hub may be changed.
// +kubebuilder:validation:Enum=ReadWrite;ReadOnly
type HubMode string

const (
	// ModeReadWrite lets twins be changed.
	ModeReadWrite HubMode = "ReadWrite"
	// ModeReadOnly only reads.
	ModeReadOnly HubMode = "ReadOnly"
)

// Guard stops all changes of a hub when too many twins were changed, until a
// person lets them go on with the annotation iothub.devicetwin.io/guardReset, or
// changes maxChangesPerHour.
type Guard struct {
	// maxChangesPerHour is how many twins may be changed within any hour.
	// +required
	// +kubebuilder:validation:Minimum=1
	MaxChangesPerHour int32 `json:"maxChangesPerHour,omitempty"`
}

// GuardStatus is the state of a guard.
type GuardStatus struct {
	// trippedAt is when the guard stopped the changes; left out while it has not.
	// +optional
	TrippedAt *metav1.Time `json:"trippedAt,omitempty"`

	// limit is the maxChangesPerHour that was reached.
	// +optional
	Limit int32 `json:"limit,omitempty"`

	// waiting counts the twins that need a change and have to wait.
	// +optional
	Waiting int32 `json:"waiting,omitempty"`

	// lastHandledReset is the value of the annotation
	// iothub.devicetwin.io/guardReset that was last acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledReset string `json:"lastHandledReset,omitempty"`
}

// HubAuth is how to authenticate to a hub: exactly one way.
//
// +kubebuilder:validation:XValidation:rule="has(self.connectionStringSecretRef) != has(self.workloadIdentity)",message="exactly one of connectionStringSecretRef and workloadIdentity is required",reason=FieldValueInvalid
type HubAuth struct {
	// connectionStringSecretRef names the Secret, in the HubConnection's own
	// namespace, that holds the connection string of a shared access policy with
	// the ServiceConnect permission, such as the built-in policy "service".
	// +optional
	ConnectionStringSecretRef *SecretKeyReference `json:"connectionStringSecretRef,omitempty"`

	// workloadIdentity signs in with Microsoft Entra ID as an application that
	// trusts a ServiceAccount of this namespace. No secret is stored.
	// +optional
	WorkloadIdentity *WorkloadIdentity `json:"workloadIdentity,omitempty"`
}

// WorkloadIdentity is an application of Microsoft Entra ID with a federated
// credential for a ServiceAccount. It needs a role at the hub: IoT Hub Twin
// Contributor for twins, and IoT Hub Registry Contributor to register devices.
type WorkloadIdentity struct {
	// clientId of the application, a GUID.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9A-Fa-f-]+$`
	ClientID string `json:"clientId,omitempty"`

	// tenantId of its directory, a GUID.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9A-Fa-f-]+$`
	TenantID string `json:"tenantId,omitempty"`

	// serviceAccountName in this namespace that the application trusts.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// SecretKeyReference names one key of a Secret in the same namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// key in the Secret's data.
	// +optional
	// +kubebuilder:default=connectionString
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// FromNamespaces is how a HubConnection chooses the namespaces it admits.
// +kubebuilder:validation:Enum=Same;All;Selector
type FromNamespaces string

const (
	// NamespacesFromSame admits only the HubConnection's own namespace.
	NamespacesFromSame FromNamespaces = "Same"
	// NamespacesFromAll admits every namespace.
	NamespacesFromAll FromNamespaces = "All"
	// NamespacesFromSelector admits the namespaces whose labels match a selector,
	// and its own.
	NamespacesFromSelector FromNamespaces = "Selector"
)

// AllowedNamespaces chooses the namespaces that may refer to a HubConnection.
// +kubebuilder:validation:XValidation:rule="self.from == 'Selector' ? has(self.selector) : !has(self.selector)",message="selector is required with from: Selector, and only there",reason=FieldValueInvalid
type AllowedNamespaces struct {
	// from is Same (only the HubConnection's own namespace), All, or Selector.
	// +optional
	// +kubebuilder:default=Same
	From FromNamespaces `json:"from,omitempty"`

	// selector over the labels of namespaces, with from: Selector.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// HubConnectionStatus is what is known of the hub.
type HubConnectionStatus struct {
	// conditions are Ready, and Reconciling, Stalled, Paused, QuotaPressure and
	// ReadBackLate while they hold.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of;
	// -1 before the first reconcile, which tells tools to wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// hostName is the name that the hub is known by, with its port when it has one:
	// my-hub.azure-devices.net, whichever of the hub's names the credential gives.
	// +optional
	// +kubebuilder:validation:MaxLength=261
	HostName string `json:"hostName,omitempty"`

	// endpoint is the name that calls go to, where that is another one of the hub's:
	// my-hub.service.azure-devices.net, when the credential gives that name or the one
	// of the devices' endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=261
	Endpoint string `json:"endpoint,omitempty"`

	// guard is the state of spec.guard.
	// +optional
	Guard *GuardStatus `json:"guard,omitempty"`

	// lastHandledReconcileAt is the value of the annotation
	// iothub.devicetwin.io/reconcileAt that was last acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	HubUse `json:",inline"`
}

// HubConnection tells how to reach one Azure IoT Hub.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=hub,categories=iothub
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.status.hostName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Twins",type=integer,priority=1,JSONPath=`.status.twins.total`
// +kubebuilder:printcolumn:name="Backlog",type=integer,priority=1,JSONPath=`.status.backlog`
// +kubebuilder:printcolumn:name="Quota",type=integer,priority=1,JSONPath=`.status.quotaUsedPercent`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type HubConnection struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of objects.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says how to reach the hub and who may use it.
	// +required
	Spec HubConnectionSpec `json:"spec,omitzero"`

	// status is what is known of the hub.
	// +optional
	// +kubebuilder:default={observedGeneration:-1}
	Status HubConnectionStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions to be changed in place.
func (h *HubConnection) GetConditions() *[]metav1.Condition { return &h.Status.Conditions }

// HubConnectionList is a list of HubConnections.
//
// +kubebuilder:object:root=true
type HubConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HubConnection `json:"items"`
}

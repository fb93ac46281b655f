package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TwinQuerySpec is a condition over the devices of a hub.
//
// +kubebuilder:validation:XValidation:rule="self.hubRef == oldSelf.hubRef",message="hubRef is immutable: create another TwinQuery",fieldPath=".hubRef",reason=FieldValueForbidden
type TwinQuerySpec struct {
	// hubRef names the HubConnection of the hub to ask. Immutable.
	// +required
	HubRef HubReference `json:"hubRef,omitzero"`

	// where is a condition in IoT Hub's query language, what would stand after
	// WHERE: tags.location.plant = 'Redmond43'.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8000
	Where string `json:"where,omitempty"`

	// from is what to select from: devices, or devices.modules.
	// +optional
	// +kubebuilder:default=devices
	// +kubebuilder:validation:Enum=devices;devices.modules
	From string `json:"from,omitempty"`

	// interval between two runs of the query, at least five seconds. IoT Hub
	// answers 20 queries a minute and unit on the small tiers, and each page of
	// 100 devices counts. A result of more than 1,000 devices is counted, which
	// takes one page.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s') && duration(self) <= duration('24h')",message="must be from 5s to 24h",reason=FieldValueInvalid
	Interval metav1.Duration `json:"interval,omitzero"`
}

// TwinQueryStatus is the hub's last answer.
type TwinQueryStatus struct {
	// conditions are Ready, and Reconciling, Stalled or MembershipsLate while they hold.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of;
	// -1 before the first reconcile, which tells tools to wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// count of the devices that satisfy the condition by the hub's answer, however
	// many they are. It can include devices deleted a while ago: the hub's index
	// follows with delay.
	// +optional
	Count *int64 `json:"count,omitempty"`

	// devices are the ids of the matching devices, the 100 smallest; those of
	// modules as device/module. There are none when count is more than 1,000; they
	// are back when it falls to 900.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=257
	Devices []string `json:"devices,omitempty"`

	// observedAt is when this result was first seen: it moves with the result,
	// not with the clock. A query that cannot be refreshed says so in Ready.
	// +optional
	ObservedAt *metav1.Time `json:"observedAt,omitempty"`

	// lastHandledReconcileAt is the value of the annotation
	// iothub.devicetwin.io/reconcileAt that was last acted upon.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// TwinQuery is a named condition over the devices of a hub.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tq,categories=iothub
// +kubebuilder:selectablefield:JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Count",type=integer,JSONPath=`.status.count`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Observed",type=date,JSONPath=`.status.observedAt`
// +kubebuilder:printcolumn:name="Where",type=string,JSONPath=`.spec.where`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Hub",type=string,priority=1,JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="From",type=string,priority=1,JSONPath=`.spec.from`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type TwinQuery struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of objects.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the condition.
	// +required
	Spec TwinQuerySpec `json:"spec,omitzero"`

	// status is the hub's last answer.
	// +optional
	// +kubebuilder:default={observedGeneration:-1}
	Status TwinQueryStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions to be changed in place.
func (q *TwinQuery) GetConditions() *[]metav1.Condition { return &q.Status.Conditions }

// TwinQueryList is a list of TwinQueries.
//
// +kubebuilder:object:root=true
type TwinQueryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TwinQuery `json:"items"`
}

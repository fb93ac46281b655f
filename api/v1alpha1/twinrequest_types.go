package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TwinRequestSpec asks the manager one question that only the hub can answer.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a request is immutable: create another TwinRequest",reason=FieldValueForbidden
// +kubebuilder:validation:XValidation:rule="has(self.query) != has(self.plan)",message="exactly one of query and plan is required",reason=FieldValueInvalid
type TwinRequestSpec struct {
	// query asks for twins as the hub's index shows them, one page of them.
	// +optional
	Query *TwinRequestQuery `json:"query,omitempty"`

	// plan asks what a DeviceTwin would write to the hub.
	// +optional
	Plan *TwinRequestPlan `json:"plan,omitempty"`

	// ttl is how long this object stays after it was answered: the manager deletes it
	// then.
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('5s') && duration(self) <= duration('1h')",message="must be from 5s to 1h",reason=FieldValueInvalid
	TTL metav1.Duration `json:"ttl,omitzero"`
}

// TwinRequestQuery asks for the twins that satisfy a condition.
type TwinRequestQuery struct {
	// hubRef names the HubConnection of the hub to ask.
	// +required
	HubRef HubReference `json:"hubRef,omitzero"`

	// where is a condition in IoT Hub's query language, as that of a TwinQuery.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8000
	Where string `json:"where,omitempty"`

	// from is what to select from: devices, or devices.modules.
	// +optional
	// +kubebuilder:default=devices
	// +kubebuilder:validation:Enum=devices;devices.modules
	From string `json:"from,omitempty"`

	// select lists the properties to answer with, by their paths from the top of a
	// twin: tags.location, properties.desired. The id is there in any case. Whole twins
	// when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Select []string `json:"select,omitempty"`

	// pageSize is the most twins to answer with.
	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	PageSize int32 `json:"pageSize,omitempty"`

	// continue is status.query.continue of the request for the page before, which has
	// to ask the same.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	// +kubebuilder:validation:Pattern=`^[!-~]+$`
	Continue string `json:"continue,omitempty"`
}

// TwinRequestPlan asks what would be written for a DeviceTwin.
type TwinRequestPlan struct {
	// name of the DeviceTwin, in this namespace, that need not exist. If it does, what
	// it wrote before counts.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// spec that it would have.
	// +required
	Spec DeviceTwinSpec `json:"spec,omitzero"`
}

// TwinRequestStatus is the answer.
type TwinRequestStatus struct {
	// conditions are Ready, and Stalled when there is no answer. They are written once.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of;
	// -1 before the answer, which tells tools to wait for it.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// completedAt is when the request was answered, or given up. spec.ttl counts from
	// then.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// query is the answer to spec.query.
	// +optional
	Query *TwinRequestRows `json:"query,omitempty"`

	// plan is the answer to spec.plan.
	// +optional
	Plan *TwinRequestPlanned `json:"plan,omitempty"`
}

// TwinRequestRows is one page of twins.
type TwinRequestRows struct {
	// rows are the twins, as the hub's index spells them, with what was selected of
	// them. $metadata is there only where spec.query.select names it.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:XPreserveUnknownFields
	Rows []runtime.RawExtension `json:"rows,omitempty"`

	// continue asks for the next page, in another request; left out with the last page.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Continue string `json:"continue,omitempty"`

	// condition is what the hub was asked for, as it was understood, and narrowed to the
	// devices that this namespace may use.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	Condition string `json:"condition,omitempty"`

	// pages is how many pages the hub answered, each of which counts against its rate of
	// queries.
	// +optional
	Pages int32 `json:"pages,omitempty"`

	// messages that the hub bills for the answer.
	// +optional
	Messages int64 `json:"messages,omitempty"`

	// unreadable counts twins that the hub's index shows in a way that cannot be used:
	// they are left out.
	// +optional
	Unreadable int32 `json:"unreadable,omitempty"`
}

// TwinRequestPlanned is what would be written for a DeviceTwin.
type TwinRequestPlanned struct {
	// patch is the merge patch that would be sent: tags and properties.desired. Left
	// out when nothing would be written; reason says why.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +mapType=atomic
	Patch *runtime.RawExtension `json:"patch,omitempty"`

	// leaves that the hub does not hold as declared, and those that left the
	// declaration and would be deleted.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20000
	Leaves []PlannedLeaf `json:"leaves,omitempty"`

	// messages that the hub bills for the patch.
	// +optional
	Messages int64 `json:"messages,omitempty"`

	// registers tells that the device or module would be registered first.
	// +optional
	Registers bool `json:"registers,omitempty"`

	// reason why nothing would be written, or less than declared: Succeeded when the hub
	// holds what is declared, else a reason of a DeviceTwin's conditions. Left out when
	// all of it would be written.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// message explains reason.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Message string `json:"message,omitempty"`
}

// PlannedLeaf is one leaf of a twin before and after a patch.
type PlannedLeaf struct {
	// path of the leaf: tags.location.plant.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=16384
	Path string `json:"path,omitempty"`

	// before is the value on the hub; left out when there is none.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	Before *runtime.RawExtension `json:"before,omitempty"`

	// after is the value that would be written; left out for a leaf to be deleted.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	After *runtime.RawExtension `json:"after,omitempty"`

	// withheld is why the leaf is not in the patch: Observed, Yielded, Contended or
	// Conflict. Left out for those that are.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Withheld string `json:"withheld,omitempty"`
}

// TwinRequest asks the manager one question that only the hub can answer: for twins, or
// for what a DeviceTwin would write. It is answered once, within a minute, and deleted a
// while after. Nothing is ever written to the hub for it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tr
// +kubebuilder:printcolumn:name="Where",type=string,JSONPath=`.spec.query.where`
// +kubebuilder:printcolumn:name="Plan",type=string,JSONPath=`.spec.plan.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type TwinRequest struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of objects.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the question.
	// +required
	Spec TwinRequestSpec `json:"spec,omitzero"`

	// status is the answer.
	// +optional
	// +kubebuilder:default={observedGeneration:-1}
	Status TwinRequestStatus `json:"status,omitzero"`
}

// GetConditions returns the conditions to be changed in place.
func (r *TwinRequest) GetConditions() *[]metav1.Condition { return &r.Status.Conditions }

// TwinRequestList is a list of TwinRequests.
//
// +kubebuilder:object:root=true
type TwinRequestList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TwinRequest `json:"items"`
}

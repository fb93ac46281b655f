package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SKU is a size of hub as IoT Hub sells it. The tiers B1 to B3 have no twins.
// +kubebuilder:validation:Enum=F1;S1;S2;S3
type SKU string

const (
	// SKUF1 is the free hub.
	SKUF1 SKU = "F1"
	// SKUS1 is the small standard hub.
	SKUS1 SKU = "S1"
	// SKUS2 is the medium standard hub.
	SKUS2 SKU = "S2"
	// SKUS3 is the large standard hub.
	SKUS3 SKU = "S3"
)

// Tier is the size of a hub. Its throttles and its daily message quota follow from
// it; the hub itself does not tell.
//
// +kubebuilder:validation:XValidation:rule="self.sku != 'F1' || self.units == 1",message="IoT Hub has 1 unit of F1",fieldPath=".units",reason=FieldValueInvalid
type Tier struct {
	// sku of the hub.
	// +optional
	// +kubebuilder:default=S1
	SKU SKU `json:"sku,omitempty"`

	// units of that size. IoT Hub sells up to 200 of S1 and of S2, and up to 10 of
	// S3; Microsoft's support gives more to those who ask.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Units int32 `json:"units,omitempty"`
}

// Budget is the share of what a hub allows that the operator takes. Devices and
// other back ends need the rest: a device's reports count as twin updates too.
type Budget struct {
	// ratePercent of each throttle of the tier: twin reads, twin updates, queries
	// and operations on the identity registry.
	// +optional
	// +kubebuilder:default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	RatePercent int32 `json:"ratePercent,omitempty"`

	// dailyMessagesPercent of the tier's daily message quota. Writes are not held
	// back for it: when it would not last until 00:00 UTC the hub is read back less
	// often, and the condition QuotaPressure tells.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	DailyMessagesPercent int32 `json:"dailyMessagesPercent,omitempty"`
}

// ReadBack says how often the hub is asked what has changed there.
//
// +kubebuilder:validation:XValidation:rule="!has(self.fullSweepInterval) || !has(self.interval) || duration(self.fullSweepInterval) >= duration(self.interval)",message="must not be shorter than interval",fieldPath=".fullSweepInterval",reason=FieldValueInvalid
type ReadBack struct {
	// interval between two queries of the hub for the twins that have moved, at least one
	// second. Only twins that moved are read.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be from 1s to 24h",reason=FieldValueInvalid
	Interval metav1.Duration `json:"interval,omitzero"`

	// fullSweepInterval is how often all twins are read back, for what a query for
	// changes does not show: tags, connections, deletions. When left out it is an hour,
	// or the interval if that is longer.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('168h')",message="must be from 1s to 168h",reason=FieldValueInvalid
	FullSweepInterval metav1.Duration `json:"fullSweepInterval,omitzero"`
}

// defaultFullSweepInterval is not the schema's to set: a hub that is read back once
// a day would break the rule that a sweep is not more often.
const defaultFullSweepInterval = time.Hour

// FullSweep is the full sweep interval as declared, or as it is by default.
func (r ReadBack) FullSweep() time.Duration {
	if declared := r.FullSweepInterval.Duration; declared > 0 {
		return declared
	}
	return max(defaultFullSweepInterval, r.Interval.Duration)
}

// HubUse is what the operator makes of a hub. Its numbers are written at most once
// a minute, and only when one of them changed.
type HubUse struct {
	// twins counts the DeviceTwins that refer to this HubConnection.
	// +optional
	Twins *TwinCounts `json:"twins,omitempty"`

	// backlog counts the objects that wait for a permit at the hub through this
	// HubConnection.
	// +optional
	Backlog int32 `json:"backlog,omitempty"`

	// backlogEndsAt is when the last of them is expected to have been served; left
	// out when nothing waits.
	// +optional
	BacklogEndsAt *metav1.Time `json:"backlogEndsAt,omitempty"`

	// quotaUsedPercent of the operator's share of the daily message quota,
	// spec.budget.dailyMessagesPercent, rounded up to 1, 2, 5, and then in steps of 10.
	// It can pass 100.
	// +optional
	QuotaUsedPercent int32 `json:"quotaUsedPercent,omitempty"`

	// quotaDay is the day, from 00:00 UTC, of quotaUsedPercent.
	// +optional
	// +kubebuilder:validation:Format=date
	QuotaDay string `json:"quotaDay,omitempty"`

	// effectiveInterval is spec.readBack.interval as it can be kept: longer while the
	// daily messages would not last, at most 64 times and up to an hour, and where a
	// pass takes longer.
	// +optional
	// +kubebuilder:validation:Type=string
	EffectiveInterval metav1.Duration `json:"effectiveInterval,omitzero"`

	// effectiveFullSweepInterval is spec.readBack.fullSweepInterval as it can be kept,
	// likewise, up to a day.
	// +optional
	// +kubebuilder:validation:Type=string
	EffectiveFullSweepInterval metav1.Duration `json:"effectiveFullSweepInterval,omitzero"`

	// effectiveIntervalReason says why they are longer than declared; left out when they
	// are not.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	EffectiveIntervalReason string `json:"effectiveIntervalReason,omitempty"`

	// readBackAsOf is when the hub was last read back completely; set only while
	// the condition ReadBackLate is True.
	// +optional
	ReadBackAsOf *metav1.Time `json:"readBackAsOf,omitempty"`
}

// TwinCounts counts DeviceTwins by their conditions.
type TwinCounts struct {
	// total of all.
	// +optional
	Total int32 `json:"total"`

	// ready of them are Ready.
	// +optional
	Ready int32 `json:"ready"`

	// drifted of them are Drifted.
	// +optional
	Drifted int32 `json:"drifted"`

	// contended of them are Contended.
	// +optional
	Contended int32 `json:"contended"`
}

package rollout

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// rest is the last wave, which no spec names.
const rest = "rest"

// Rollout is where that of one DeviceTwinSet stands.
type Rollout struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Hub       string `json:"hub"`
	Ready     string `json:"ready"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`

	Phase          v1alpha1.SetPhase `json:"phase,omitempty"`
	Wave           string            `json:"wave,omitempty"`
	Revision       string            `json:"revision,omitempty"`
	StableRevision string            `json:"stableRevision,omitempty"`
	FailedRevision string            `json:"failedRevision,omitempty"`
	// Result is Running until the rollout has ended.
	Result    Result `json:"result"`
	Suspended bool   `json:"suspended,omitempty"`
	Paused    bool   `json:"paused,omitempty"`
	// Stale tells that the status does not speak of the last edit or command yet.
	Stale bool `json:"stale,omitempty"`

	MaxDevices int32                 `json:"maxDevices"`
	Counts     v1alpha1.SetCounts    `json:"counts"`
	Waves      []Wave                `json:"waves"`
	ETA        *metav1.Time          `json:"eta,omitempty"`
	ObservedAt *metav1.Time          `json:"observedAt,omitempty"`
	Examples   []v1alpha1.SetExample `json:"examples,omitempty"`
}

// Result is how a rollout ended.
type Result string

// The results of a rollout.
const (
	Running   Result = "Running"
	Succeeded Result = "Succeeded"
	Failed    Result = "Failed"
)

// Of reads a DeviceTwinSet.
func Of(obj *v1alpha1.DeviceTwinSet) *Rollout {
	status := &obj.Status
	r := &Rollout{
		Namespace: obj.Namespace, Name: obj.Name, Hub: obj.Spec.HubRef.Name, Ready: string(metav1.ConditionUnknown),
		Phase: status.Phase, Wave: status.Wave, Revision: status.Revision, StableRevision: status.StableRevision, FailedRevision: status.FailedRevision,
		Suspended: obj.Spec.Suspend, Paused: obj.Spec.Rollout.Paused, Stale: Stale(obj) || Pending(obj),
		MaxDevices: obj.Spec.MaxDevices, Counts: status.Counts, Waves: waves(obj), ETA: status.ETA, ObservedAt: status.ObservedAt, Examples: status.Examples,
	}
	if ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionReady); ready != nil {
		r.Ready, r.Reason, r.Message = string(ready.Status), ready.Reason, ready.Message
	}
	r.Result = r.result(meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ConditionStalled))
	return r
}

// Stale tells that the status speaks of an earlier spec, or of none.
func Stale(obj *v1alpha1.DeviceTwinSet) bool { return obj.Status.ObservedGeneration != obj.Generation }

// Over tells whether each device of the revision was brought to it: no wave is left.
func (r *Rollout) Over() bool { return r.Revision != "" && r.Wave == "" && !r.Halted() }

// Halted tells whether the revision was stopped, by devices that failed or by a user.
func (r *Rollout) Halted() bool {
	return r.Phase == v1alpha1.SetFailed || r.Phase == v1alpha1.SetAborted
}

// RolledBack tells whether the devices are brought, or were brought, to the stable revision in place of the one that is declared.
func (r *Rollout) RolledBack() bool {
	return r.FailedRevision != "" && r.Revision == r.StableRevision
}

// result is how the rollout ended. Nothing is concluded from a status that is not of the last edit or command.
func (r *Rollout) result(stalled bool) Result {
	switch {
	case r.Stale, r.Suspended:
		return Running
	case r.Halted(), r.Over() && r.RolledBack():
		return Failed
	case stalled && !r.waitsForUser():
		return Failed
	case r.Over() && (r.Ready == string(metav1.ConditionTrue) || r.Reason == v1alpha1.ReasonRolloutPaused):
		return Succeeded
	}
	return Running
}

// waitsForUser tells whether a user has been asked to let it go on, or holds it.
func (r *Rollout) waitsForUser() bool {
	return r.Phase == v1alpha1.SetAwaitingApproval || r.Phase == v1alpha1.SetPaused
}

package rollout

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// WaveState says where a wave stands.
type WaveState string

// The states of a wave.
const (
	// Ahead: nothing of it was written.
	Ahead WaveState = "Ahead"
	// Current: its devices are written, or are waited for.
	Current WaveState = "Current"
	// Stopped: the revision was stopped in it.
	Stopped WaveState = "Stopped"
	// Soaking: it is complete, and watched.
	Soaking WaveState = "Soaking"
	// Awaiting: it is complete, and what follows waits for an approval.
	Awaiting WaveState = "AwaitingApproval"
	// Complete: it is complete, and left behind.
	Complete WaveState = "Complete"
)

// Wave is how far one wave is.
type Wave struct {
	Name         string       `json:"name"`
	State        WaveState    `json:"state"`
	Written      int64        `json:"written"`
	Acknowledged int64        `json:"acknowledged"`
	Failed       int64        `json:"failed"`
	Forgiven     int64        `json:"forgiven,omitempty"`
	Offline      int64        `json:"offline"`
	CompletedAt  *metav1.Time `json:"completedAt,omitempty"`
}

// waves are those that the rollout has come to, and those that are declared behind them. A rollback
// has one wave alone.
func waves(obj *v1alpha1.DeviceTwinSet) []Wave {
	all, known := []Wave{}, map[string]bool{}
	for i := range obj.Status.Waves {
		seen := &obj.Status.Waves[i]
		known[seen.Name] = true
		all = append(all, Wave{
			Name: seen.Name, State: stateOf(&obj.Status, seen), Written: seen.Written, Acknowledged: seen.Acknowledged,
			Failed: seen.Failed, Forgiven: seen.Forgiven, Offline: seen.Offline, CompletedAt: seen.CompletedAt,
		})
	}
	for _, name := range declared(obj) {
		if !known[name] {
			all = append(all, Wave{Name: name, State: stateOf(&obj.Status, &v1alpha1.SetWaveStatus{Name: name})})
		}
	}
	return all
}

// declared are the names of the waves of the rollout.
func declared(obj *v1alpha1.DeviceTwinSet) []string {
	var names []string
	if obj.Status.FailedRevision == "" || obj.Status.Revision != obj.Status.StableRevision {
		for i := range obj.Spec.Rollout.Waves {
			names = append(names, obj.Spec.Rollout.Waves[i].Name)
		}
	}
	return append(names, rest)
}

func stateOf(status *v1alpha1.DeviceTwinSetStatus, wave *v1alpha1.SetWaveStatus) WaveState {
	switch {
	case wave.Name != status.Wave && wave.CompletedAt != nil:
		return Complete
	case wave.Name != status.Wave:
		return Ahead
	case status.Phase == v1alpha1.SetFailed, status.Phase == v1alpha1.SetAborted:
		return Stopped
	case wave.CompletedAt == nil:
		return Current
	case status.Phase == v1alpha1.SetSoaking:
		return Soaking
	case status.Phase == v1alpha1.SetAwaitingApproval:
		return Awaiting
	}
	return Current
}

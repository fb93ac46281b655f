package inspect

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	// maxExamples and maxMoves bound what a summary lists.
	maxExamples = 3
	maxMoves    = 5
)

// fleet sums up the DeviceTwins of a hub.
type fleet struct {
	total, suspended, drifted, contended int
	reasons                              map[reasonKey]*reasonCount
	moves                                []move
}

type reasonKey struct {
	ready  metav1.ConditionStatus
	reason string
}

// reasonCount is how many twins are in one state for one reason.
type reasonCount struct {
	Ready    string   `json:"ready"`
	Reason   string   `json:"reason"`
	Count    int      `json:"count"`
	Examples []string `json:"examples"`
	// Message is that of the first example.
	Message string `json:"message,omitempty"`
}

// move is a condition that came to mean something else.
type move struct {
	Name      string      `json:"name"`
	Condition string      `json:"condition"`
	Status    string      `json:"status"`
	Reason    string      `json:"reason"`
	At        metav1.Time `json:"at"`
}

func newFleet() *fleet { return &fleet{reasons: map[reasonKey]*reasonCount{}} }

// add counts one twin under a name.
func (f *fleet) add(name string, obj *v1alpha1.DeviceTwin) {
	f.total++
	if obj.Spec.Suspend {
		f.suspended++
	}
	if meta.IsStatusConditionTrue(obj.Status.Conditions, v1alpha1.ConditionDrifted) {
		f.drifted++
	}
	if meta.IsStatusConditionTrue(obj.Status.Conditions, v1alpha1.ConditionContended) {
		f.contended++
	}
	f.reason(name, obj)
	for _, c := range obj.Status.Conditions {
		if c.Type == v1alpha1.ConditionSynced { // Ready moves with it
			continue
		}
		f.moved(move{Name: name, Condition: c.Type, Status: string(c.Status), Reason: c.Reason, At: c.LastTransitionTime})
	}
}

func (f *fleet) reason(name string, obj *v1alpha1.DeviceTwin) {
	key, message := reasonKey{ready: metav1.ConditionUnknown, reason: "NotReconciled"}, "no controller has looked at it yet"
	if ready := meta.FindStatusCondition(obj.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		key, message = reasonKey{ready: ready.Status, reason: ready.Reason}, ready.Message
	}
	count := f.reasons[key]
	if count == nil {
		count = &reasonCount{Ready: string(key.ready), Reason: key.reason, Message: message}
		f.reasons[key] = count
	}
	count.Count++
	if len(count.Examples) < maxExamples {
		count.Examples = append(count.Examples, name)
	}
}

// moved keeps the latest moves.
func (f *fleet) moved(m move) {
	at, _ := slices.BinarySearchFunc(f.moves, m, func(a, b move) int {
		return cmp.Or(b.At.Compare(a.At.Time), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Condition, b.Condition))
	})
	if at == maxMoves {
		return
	}
	f.moves = slices.Insert(f.moves, at, m)
	f.moves = f.moves[:min(len(f.moves), maxMoves)]
}

// byCount are the reasons, those first that need the user, then by how often they are met.
func (f *fleet) byCount() []*reasonCount {
	return slices.SortedFunc(maps.Values(f.reasons), func(a, b *reasonCount) int {
		return cmp.Or(rank(a.Ready)-rank(b.Ready), b.Count-a.Count, cmp.Compare(a.Reason, b.Reason))
	})
}

func rank(ready string) int {
	return slices.Index([]string{string(metav1.ConditionFalse), string(metav1.ConditionUnknown), string(metav1.ConditionTrue)}, ready)
}

// ready counts the twins that are.
func (f *fleet) ready() int {
	n := 0
	for key, count := range f.reasons {
		if key.ready == metav1.ConditionTrue {
			n += count.Count
		}
	}
	return n
}

// ago is how long something is past, by the clock of this machine.
func ago(now time.Time, at metav1.Time) time.Duration { return max(0, now.Sub(at.Time)) }

package fleet

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Questions are what is asked of the hub's index about the devices of a set. Each is
// narrowed to what the set's namespace may use.
type Questions struct {
	set      types.NamespacedName
	selector *query.Condition
	// narrow adds the scope of the namespace.
	narrow func(*query.Condition) (*query.Condition, error)
}

// NewQuestions are those of a set. The selector is narrowed already.
func NewQuestions(set types.NamespacedName, selector *query.Condition, narrow func(*query.Condition) (*query.Condition, error)) Questions {
	return Questions{set: set, selector: selector, narrow: narrow}
}

// Selected are the set's devices.
func (q Questions) Selected() *query.Condition { return q.selector }

// Marked are all devices that hold some revision of the set, selected or not.
func (q Questions) Marked() (*query.Condition, error) {
	return q.narrow(query.Defined(markerPath(q.set, markerRevision)...))
}

// MarkedSelected are those of them that are selected.
func (q Questions) MarkedSelected() *query.Condition {
	return query.And(q.selector, query.Defined(markerPath(q.set, markerRevision)...))
}

// Holding are all devices that hold a revision, selected or not.
func (q Questions) Holding(revision string) (*query.Condition, error) {
	return q.narrow(q.marked(markerRevision, revision))
}

// Unmarked are the set's devices that hold no revision yet.
func (q Questions) Unmarked() *query.Condition {
	return query.And(q.selector, query.Not(query.Defined(markerPath(q.set, markerRevision)...)))
}

// Behind are the set's devices that do not hold a revision.
func (q Questions) Behind(revision string) *query.Condition {
	defined := query.Defined(markerPath(q.set, markerRevision)...)
	// The name of a revision is a text that every query can name.
	other, _ := query.Differs(revision, markerPath(q.set, markerRevision)...)
	return query.And(q.selector, query.Or(query.Not(defined), other))
}

// BehindIn are those of them that the conditions of waves select.
func (q Questions) BehindIn(revision string, waves []*query.Condition) *query.Condition {
	return query.And(q.Behind(revision), query.Or(waves[0], waves[1:]...))
}

// Written are the set's devices that hold a revision.
func (q Questions) Written(revision string) *query.Condition {
	return query.And(q.selector, q.marked(markerRevision, revision))
}

// WrittenIn are those of them that came in a wave.
func (q Questions) WrittenIn(revision, wave string) *query.Condition {
	return query.And(q.Written(revision), q.marked(markerWave, wave))
}

func (q Questions) marked(member, value string) *query.Condition {
	condition, _ := query.Equals(value, markerPath(q.set, member)...)
	return condition
}

// Offline narrows a condition to devices that are not connected.
func Offline(condition *query.Condition) *query.Condition {
	disconnected, _ := query.Equals("Disconnected", "connectionState")
	return query.And(condition, disconnected)
}

// Acknowledged narrows a condition to devices that have taken over what is declared: they report an
// equal value, or acknowledge that value by IoT Plug and Play's conventions. It reports
// false where some leaf is an array or an object, which no query compares: a document has to be read.
func Acknowledged(condition *query.Condition, declared twin.Document) (acknowledged *query.Condition, whole bool) {
	all, whole := []*query.Condition{}, true
	for path, value := range (twin.Document{Desired: declared.Desired}).Leaves() {
		at := append([]string{"properties", "reported"}, path.Keys()...)
		equal, ok := query.Equals(value, at...)
		if !ok {
			whole = false
			continue
		}
		below, _ := query.Equals(value, member(at, "value")...)
		done, _ := query.Equals(200, member(at, "ac")...)
		all = append(all, query.Or(equal, query.And(below, done)))
	}
	return query.And(condition, all...), whole
}

// member leads to a member below a path.
func member(path []string, name string) []string {
	return append(path[:len(path):len(path)], name)
}

// Unacknowledged narrows a condition to devices that have not taken over what is declared, as far as a
// query tells: it also shows some that have, and misses those that report a value of another
// type. Without a leaf that a query compares it narrows nothing.
func Unacknowledged(condition *query.Condition, declared twin.Document) *query.Condition {
	var either []*query.Condition
	for path, value := range (twin.Document{Desired: declared.Desired}).Leaves() {
		at := append([]string{"properties", "reported"}, path.Keys()...)
		differs, ok := query.Differs(value, at...)
		if !ok {
			return condition
		}
		otherCode, _ := query.Differs(200, member(at, "ac")...)
		otherValue, _ := query.Differs(value, member(at, "value")...)
		noValue := query.Not(query.Defined(member(at, "value")...))
		either = append(either, query.Not(query.Defined(at...)), differs,
			query.And(query.Defined(member(at, "ac")...), query.Or(otherCode, otherValue, noValue)))
	}
	if len(either) == 0 {
		return condition
	}
	return query.And(condition, query.Or(either[0], either[1:]...))
}

// maxDrift is how many leaves one query for drift compares: IoT Hub bounds a query's length, and
// not by the leaf.
const maxDrift = 20

// Drifted narrows a condition to devices where a scalar leaf that is enforced is missing or has another
// value of its type: one condition for every few leaves. What no query compares is found when the documents
// are read.
func Drifted(condition *query.Condition, declared twin.Document, policies twin.Policies) []*query.Condition {
	var all, differing []*query.Condition
	flush := func() {
		if len(differing) > 0 {
			all = append(all, query.And(condition, query.Or(differing[0], differing[1:]...)))
			differing = nil
		}
	}
	for path, value := range declared.Leaves() {
		if policies.Of(path) != twin.Enforce {
			continue
		}
		at := inTwin(path)
		differs, ok := query.Differs(value, at...)
		if !ok {
			continue
		}
		differing = append(differing, query.Not(query.Defined(at...)), differs)
		if len(differing) >= 2*maxDrift {
			flush()
		}
	}
	flush()
	return all
}

// inTwin is where a leaf stands in the whole twin.
func inTwin(path twin.Path) []string {
	if path.Section() == twin.Desired {
		return append([]string{"properties", string(twin.Desired)}, path.Keys()...)
	}
	return append([]string{string(twin.Tags)}, path.Keys()...)
}

// Reads is the first property that a condition reads and a declaration writes, if there is one: a
// device would be selected or left by what is written to it. The marker counts as
// written.
func Reads(condition *query.Condition, declared twin.Document, set types.NamespacedName) (read, written string, found bool) {
	marked := WithMarker(declared, set, Marker{Revision: "r", Wave: "w"})
	for _, names := range condition.Paths() {
		for path := range marked.Leaves() {
			if leads(names, inTwin(path)) || leads(inTwin(path), names) {
				return query.PathText(names...), path.String(), true
			}
		}
	}
	return "", "", false
}

// leads tells whether a path is another one, or above it.
func leads(path, to []string) bool {
	if len(path) > len(to) {
		return false
	}
	for i := range path {
		if path[i] != to[i] {
			return false
		}
	}
	return true
}

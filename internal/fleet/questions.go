package fleet

import (
	"slices"
	"strings"
	"unicode/utf8"

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

// Behind are the set's devices that do not hold a revision.
func (q Questions) Behind(revision string) *query.Condition {
	defined := query.Defined(markerPath(q.set, markerRevision)...)
	// The name of a revision is a text that every query can name.
	other, _ := query.Differs(revision, markerPath(q.set, markerRevision)...)
	return query.And(q.selector, query.Or(query.Not(defined), other))
}

// Unmarked are the set's devices that hold no revision yet.
func (q Questions) Unmarked() *query.Condition {
	return query.And(q.selector, query.Not(query.Defined(markerPath(q.set, markerRevision)...)))
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

// reserved is what stands in a query around what is compared, in characters.
const reserved = 300

// room is how many characters are left in a query beside a condition.
func room(condition *query.Condition) int { return query.MaxLength - reserved - length(condition) }

// length of a condition as it is sent, with what joins it to the next one.
func length(condition *query.Condition) int {
	return utf8.RuneCountInString(condition.String()) + len(" AND ()")
}

// Acknowledged narrows a condition to devices that have taken over what is declared: they report an
// equal value, or acknowledge that value by IoT Plug and Play's conventions, there or above. It
// reports false where no query tells: it compares no array and no object, and has no room for a long text or
// many leaves. Then documents have to be read.
func Acknowledged(condition *query.Condition, declared twin.Document) (acknowledged *query.Condition, whole bool) {
	leaves, whole := replies(condition, declared)
	if !whole {
		return condition, false
	}
	for _, leaf := range leaves {
		condition = query.And(condition, leaf.taken)
	}
	return condition, true
}

// Unacknowledged narrows a condition to devices that have not taken over what is declared, as far as a
// query tells: none that Acknowledged shows is among them, but some that acknowledge without a value, and none that
// report a value of another type. Where no query tells it narrows nothing.
func Unacknowledged(condition *query.Condition, declared twin.Document) *query.Condition {
	leaves, whole := replies(condition, declared)
	if !whole || len(leaves) == 0 {
		return condition
	}
	missing := make([]*query.Condition, len(leaves))
	for i := range leaves {
		missing[i] = leaves[i].missing
	}
	return query.And(condition, query.Or(missing[0], missing[1:]...))
}

// reply says what a device reports of a leaf: never both.
type reply struct{ taken, missing *query.Condition }

// replies are those of all desired leaves; false where one query does not compare them all.
func replies(condition *query.Condition, declared twin.Document) ([]reply, bool) {
	var all []reply
	left := room(condition)
	for path, value := range (twin.Document{Desired: declared.Desired}).Leaves() {
		leaf, ok := replyOf(path.Keys(), value)
		if !ok {
			return nil, false
		}
		if left -= max(length(leaf.taken), length(leaf.missing)); left < 0 {
			return nil, false
		}
		all = append(all, leaf)
	}
	return all, true
}

// replyOf compares what is reported of a leaf: the value, or an acknowledgement of the property
// itself or of an object above it.
func replyOf(keys []string, value any) (reply, bool) {
	reported := []string{"properties", "reported"}
	at := slices.Concat(reported, keys)
	equal, ok := query.Equals(value, at...)
	if !ok {
		return reply{}, false
	}
	differs, _ := query.Differs(value, at...)
	taken := []*query.Condition{equal}
	missing := []*query.Condition{query.Or(query.Not(query.Defined(at...)), differs, query.Defined(member(at, "ac")...))}
	for i := range keys {
		above := slices.Concat(reported, keys[:i+1])
		code, inside := member(above, "ac"), slices.Concat(member(above, "value"), keys[i+1:])
		done, _ := query.Equals(200, code...)
		same, _ := query.Equals(value, inside...)
		other, _ := query.Differs(200, code...)
		another, _ := query.Differs(value, inside...)
		taken = append(taken, query.And(done, same))
		missing = append(missing, query.Or(query.Not(query.Defined(code...)), other, query.Not(query.Defined(inside...)), another))
	}
	return reply{taken: query.Or(taken[0], taken[1:]...), missing: query.And(missing[0], missing[1:]...)}, true
}

// member leads to a member below a path.
func member(path []string, name string) []string {
	return append(path[:len(path):len(path)], name)
}

// Drifted narrows a condition to devices where a scalar leaf that is enforced is missing or has another
// value of its type: one condition for as many leaves as a query has room for. What no query compares is found when the
// documents are read.
func Drifted(condition *query.Condition, declared twin.Document, policies twin.Policies) []*query.Condition {
	var all, differing []*query.Condition
	most, size := room(condition), 0
	flush := func() {
		if len(differing) > 0 {
			all = append(all, query.And(condition, query.Or(differing[0], differing[1:]...)))
		}
		differing, size = nil, 0
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
		leaf := query.Or(query.Not(query.Defined(at...)), differs)
		if length(leaf) > most {
			continue
		}
		if size+length(leaf) > most {
			flush()
		}
		differing, size = append(differing, leaf), size+length(leaf)
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
// written, and so does what the hub notes about a write.
func Reads(condition *query.Condition, declared twin.Document, set types.NamespacedName) (read, written string, found bool) {
	marked := WithMarker(declared, set, Marker{Revision: "r", Wave: "w"})
	for _, names := range condition.Paths() {
		about := noted(names)
		for path := range marked.Leaves() {
			if leads(about, inTwin(path)) || leads(inTwin(path), about) {
				return query.PathText(names...), path.String(), true
			}
		}
	}
	return "", "", false
}

// noted is what a path speaks of: itself, or where it leads to the hub's own notes, such as a version or the time
// of an update, that whose change they tell of. That of the whole twin is no path.
func noted(names []string) []string {
	if len(names) == 1 && (names[0] == "etag" || names[0] == "version") {
		return nil
	}
	var about []string
	for _, name := range names {
		switch {
		case name == "$metadata":
			// It has the shape of what it tells about.
		case strings.HasPrefix(name, "$"):
			return about
		default:
			about = append(about, name)
		}
	}
	return about
}

// leads tells whether a path is another one, or above it.
func leads(path, to []string) bool {
	return len(path) <= len(to) && slices.Equal(path, to[:len(path)])
}

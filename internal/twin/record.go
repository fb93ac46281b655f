package twin

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

const (
	// hashBytes of a value's SHA-256 are kept. The hash only answers whether a
	// value on the hub is one of ours: by chance, one in four thousand million.
	// Four bytes keep the record of the largest legal twin below 128 KiB.
	hashBytes = 4
	// hashLength is hashBytes in unpadded base64.
	hashLength = 6
)

// Target is the twin that a record speaks of.
type Target struct {
	// Host of the hub, in lower case.
	Host string
	// DeviceID as registered, case-sensitive.
	DeviceID string
	// ModuleID is empty for the twin of the device itself.
	ModuleID string
	// Owner is the UID of the object that keeps the record: in a copy of it on
	// another object, or on one that was restored, it authorises nothing.
	Owner string
}

// Record remembers which leaves of one twin we may have written, and with which
// values, as short hashes. It decides what may be deleted: a leaf is deleted only
// while the hub holds a value of the record. Records are values: no function
// changes one in place.
type Record struct {
	Target        Target
	tags, desired *node
}

// node is one key in the record: the hashes of the values written there, oldest
// first, and the keys below.
type node struct {
	hashes   []string
	children map[string]*node
	// yielded is the declared value that gave way to another writer's.
	yielded string
	// replaces is another writer's value that a write which may be in flight is
	// to replace.
	replaces string
}

// NewRecord returns a record of nothing written yet.
func NewRecord(target Target) Record { return Record{Target: target} }

// For returns the record as it counts for a target: one that was made for
// another twin authorises nothing.
func (r Record) For(target Target) Record {
	if r.Target == target {
		return r
	}
	return NewRecord(target)
}

// Empty tells whether the record holds no leaf.
func (r Record) Empty() bool { return r.tags.empty() && r.desired.empty() }

// Equal tells whether two records say the same.
func (r Record) Equal(other Record) bool {
	return r.Target == other.Target && r.tags.equal(other.tags) && r.desired.equal(other.desired)
}

func (n *node) equal(other *node) bool {
	if n.empty() || other.empty() {
		return n.empty() && other.empty()
	}
	return n.yielded == other.yielded && n.replaces == other.replaces && slices.Equal(n.hashes, other.hashes) && maps.EqualFunc(n.children, other.children, (*node).equal)
}

func (n *node) empty() bool {
	if n == nil {
		return true
	}
	for _, child := range n.children {
		if !child.empty() {
			return false
		}
	}
	return len(n.hashes) == 0 && n.yielded == ""
}

func (n *node) child(key string) *node {
	if n == nil {
		return nil
	}
	return n.children[key]
}

func (n *node) holds(value any) bool {
	return n != nil && len(n.hashes) > 0 && slices.Contains(n.hashes, hash(value))
}

// HoldsTag tells whether a value of a tag at the top is one that we may have written.
func (r Record) HoldsTag(key string, value any) bool { return r.tags.child(key).holds(value) }

// knows tells whether a declared value was written before, or gave way.
func (n *node) knows(declared any) bool {
	return n.holds(declared) || (n != nil && n.yielded == hash(declared))
}

// mayReplace tells whether a write that was to replace this value may not have
// arrived.
func (n *node) mayReplace(held any) bool { return n.replaces != "" && n.replaces == hash(held) }

func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	out := &node{hashes: slices.Clone(n.hashes), yielded: n.yielded, replaces: n.replaces}
	for key, child := range n.children {
		out.put(key, child.clone())
	}
	return out
}

func (n *node) put(key string, child *node) {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[key] = child
}

// at finds or makes the node at a path of keys.
func (n *node) at(keys []string) *node {
	for _, key := range keys {
		below := n.children[key]
		if below == nil {
			below = &node{}
			n.put(key, below)
		}
		n = below
	}
	return n
}

func (r Record) section(name Section) *node {
	if name == Tags {
		return r.tags
	}
	return r.desired
}

func (r *Record) at(path Path) *node {
	root := &r.tags
	if path.section == Desired {
		root = &r.desired
	}
	if *root == nil {
		*root = &node{}
	}
	return (*root).at(path.keys)
}

// add notes that a value may be written at a path.
func (r *Record) add(path Path, value any) { r.addHash(path, hash(value)) }

func (r *Record) addHash(path Path, hash string) {
	n := r.at(path)
	n.yielded, n.replaces = "", ""
	if !slices.Contains(n.hashes, hash) {
		n.hashes = append(n.hashes, hash)
	}
}

// yield notes that a declared value gives way to another writer's.
func (r *Record) yield(path Path, declared any) {
	n := r.at(path)
	n.yielded, n.replaces = hash(declared), ""
}

// replacing notes which value a write is to replace.
func (r *Record) replacing(path Path, held any) { r.at(path).replaces = hash(held) }

func (r Record) clone() Record {
	return Record{Target: r.Target, tags: r.tags.clone(), desired: r.desired.clone()}
}

func hash(value any) string {
	sum := sha256.Sum256(canonical(nil, value))
	return base64.RawURLEncoding.EncodeToString(sum[:hashBytes])
}

// canonical spells a value so that equal values have one spelling.
func canonical(out []byte, value any) []byte {
	switch value := value.(type) {
	case map[string]any:
		out = append(out, '{')
		for _, key := range slices.Sorted(maps.Keys(value)) {
			out = append(strconv.AppendQuote(out, key), ':')
			out = append(canonical(out, value[key]), ',')
		}
		return append(out, '}')
	case []any:
		out = append(out, '[')
		for _, element := range value {
			out = append(canonical(out, element), ',')
		}
		return append(out, ']')
	case string:
		return strconv.AppendQuote(out, value)
	case bool:
		return strconv.AppendBool(out, value)
	}
	if f, ok := number(value); ok {
		return strconv.AppendFloat(out, f+0, 'g', -1, 64) // +0 turns -0 into 0
	}
	return fmt.Appendf(out, "%v", value)
}

// Written is the record of what was written with documents, each as a whole.
func Written(target Target, documents ...Document) Record {
	record := NewRecord(target)
	for _, document := range documents {
		for path, value := range document.Leaves() {
			record.add(path, value)
		}
	}
	return record
}

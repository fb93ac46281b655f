// Package shard says which part of a fleet one manager keeps: the objects whose
// labels a selector matches. It does no I/O.
package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Shard is a part of a fleet. The zero value is all of it.
type Shard struct {
	selector labels.Selector
	// text is the selector in the one spelling that all of its meaning share.
	text string
}

// Parse reads a label selector as kubectl's --selector takes it, such as
// "iothub.devicetwin.io/shard=a". An empty one selects the whole fleet.
func Parse(text string) (Shard, error) {
	parsed, err := labels.Parse(text)
	if err != nil {
		return Shard{}, fmt.Errorf("%q is no label selector, such as iothub.devicetwin.io/shard=a: %w", text, err)
	}
	if parsed.Empty() {
		return Shard{}, nil
	}
	return Shard{selector: parsed, text: canonical(parsed)}, nil
}

// canonical prints a selector such that selectors that ask for the same are equal,
// in whatever order and by whatever operators they do.
func canonical(selector labels.Selector) string {
	requirements, _ := selector.Requirements()
	parts := make([]string, 0, len(requirements))
	for i := range requirements {
		parts = append(parts, canonicalPart(&requirements[i]))
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), ",")
}

func canonicalPart(r *labels.Requirement) string {
	values := r.Values().List() // sorted
	one := len(values) == 1
	switch operator := r.Operator(); {
	case one && (operator == selection.In || operator == selection.Equals || operator == selection.DoubleEquals):
		return r.Key() + "=" + values[0]
	case one && (operator == selection.NotIn || operator == selection.NotEquals):
		return r.Key() + "!=" + values[0]
	}
	return r.String()
}

// Whole tells whether the shard is all of the fleet.
func (s Shard) Whole() bool { return s.selector == nil }

// Holds tells whether an object belongs to the shard.
func (s Shard) Holds(obj client.Object) bool {
	return s.Whole() || s.selector.Matches(labels.Set(obj.GetLabels()))
}

// String is the selector in its canonical spelling, and empty for the whole fleet.
func (s Shard) String() string { return s.text }

// hashBytes of a selector's hash are enough to tell the few shards of a cluster apart.
const hashBytes = 4

// Lease is the name of the Lease that the managers of this shard share, and no
// others: base, with a hash of the selector unless the shard is the whole fleet.
func (s Shard) Lease(base string) string {
	if s.Whole() {
		return base
	}
	hash := sha256.Sum256([]byte(s.text))
	return base + "-" + hex.EncodeToString(hash[:hashBytes])
}

// Cached narrows a manager's cache to the objects of this shard.
func (s Shard) Cached() map[client.Object]cache.ByObject {
	if s.Whole() {
		return nil
	}
	narrowed := cache.ByObject{Label: s.selector}
	return map[client.Object]cache.ByObject{
		&v1alpha1.HubConnection{}: narrowed, &v1alpha1.DeviceTwin{}: narrowed, &v1alpha1.TwinQuery{}: narrowed,
	}
}

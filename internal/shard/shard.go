// Package shard says which part of a fleet one manager keeps: the objects whose
// labels a selector matches, of all namespaces or of some. It does no I/O.
package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// Shard is a part of a fleet. The zero value is all of it.
type Shard struct {
	selector labels.Selector
	// text is the selector in the one spelling that all of its meaning share.
	text string
	// namespaces are sorted; none stands for all.
	namespaces []string
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

// In narrows a shard to namespaces, given with commas between them. An empty text leaves
// it all of them.
func (s Shard) In(namespaces string) (Shard, error) {
	s.namespaces = nil
	if strings.TrimSpace(namespaces) == "" {
		return s, nil
	}
	for name := range strings.SplitSeq(namespaces, ",") {
		name = strings.TrimSpace(name)
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return Shard{}, fmt.Errorf("%q in %q is not the name of a namespace: %s", name, namespaces, problems[0])
		}
		s.namespaces = append(s.namespaces, name)
	}
	slices.Sort(s.namespaces)
	s.namespaces = slices.Compact(s.namespaces)
	return s, nil
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
func (s Shard) Whole() bool { return !s.Labelled() && s.Everywhere() }

// Labelled tells whether the shard goes by labels, so that there are others in its
// namespaces.
func (s Shard) Labelled() bool { return s.selector != nil }

// Everywhere tells whether the shard is of all namespaces.
func (s Shard) Everywhere() bool { return len(s.namespaces) == 0 }

// Reaches tells whether the shard is of a namespace, among others.
func (s Shard) Reaches(namespace string) bool {
	return s.Everywhere() || slices.Contains(s.namespaces, namespace)
}

// Namespaces are those of the shard, as a list call takes them: of all namespaces there is
// one, metav1.NamespaceAll.
func (s Shard) Namespaces() []string {
	if s.Everywhere() {
		return []string{metav1.NamespaceAll}
	}
	return slices.Clone(s.namespaces)
}

// Holds tells whether an object belongs to the shard.
func (s Shard) Holds(obj client.Object) bool {
	return s.Reaches(obj.GetNamespace()) && (s.selector == nil || s.selector.Matches(labels.Set(obj.GetLabels())))
}

// String is the selector in its canonical spelling, and empty without one.
func (s Shard) String() string { return s.text }

// hashBytes of a hash are enough to tell the few shards of a cluster apart.
const hashBytes = 4

// Lease is the name of the Lease that the managers of this shard share, and no
// others: base, with a hash of selector and namespaces unless the shard is the whole fleet.
func (s Shard) Lease(base string) string {
	if s.Whole() {
		return base
	}
	text := s.text
	if !s.Everywhere() {
		text += "\n" + strings.Join(s.namespaces, ",") // no selector has a line break
	}
	hash := sha256.Sum256([]byte(text))
	return base + "-" + hex.EncodeToString(hash[:hashBytes])
}

// Cached narrows a manager's cache to the objects of this shard, and to what the manager
// reads of them.
func (s Shard) Cached(opts cache.Options) cache.Options {
	opts.DefaultTransform = trim
	if s.Labelled() {
		narrowed := cache.ByObject{Label: s.selector}
		opts.ByObject = map[client.Object]cache.ByObject{
			&v1alpha1.HubConnection{}: narrowed, &v1alpha1.DeviceTwin{}: narrowed, &v1alpha1.TwinQuery{}: narrowed,
			&v1alpha1.TwinRequest{}: narrowed, &v1alpha1.DeviceTwinSet{}: narrowed,
		}
	}
	for _, namespace := range s.namespaces {
		if opts.DefaultNamespaces == nil {
			opts.DefaultNamespaces = map[string]cache.Config{}
		}
		opts.DefaultNamespaces[namespace] = cache.Config{}
	}
	return opts
}

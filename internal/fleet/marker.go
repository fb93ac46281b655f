package fleet

import (
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// The members of a marker.
const (
	markerRevision = "revision"
	markerWave     = "wave"
)

// Marker is what a set notes in the twin of each of its devices, in the write that brings the
// leaves it speaks of: which revision the twin holds, and in which wave it came.
type Marker struct{ Revision, Wave string }

// MarkerKey is the key of a set's marker below tags.deviceTwinSets. A set's name and a
// namespace are DNS labels, so that the underscore is unambiguous.
func MarkerKey(set types.NamespacedName) string { return set.Namespace + "_" + set.Name }

// MarkerOf is the marker of a set in a twin's tags; false where there is none that can be read.
func MarkerOf(tags map[string]any, set types.NamespacedName) (Marker, bool) {
	all, _ := tags[v1alpha1.SetMarkerTag].(map[string]any)
	found, _ := all[MarkerKey(set)].(map[string]any)
	revision, _ := found[markerRevision].(string)
	wave, _ := found[markerWave].(string)
	return Marker{Revision: revision, Wave: wave}, revision != ""
}

// WithMarker is a declaration together with a set's marker.
func WithMarker(declared twin.Document, set types.NamespacedName, marker Marker) twin.Document {
	out := twin.Document{Tags: maps.Clone(declared.Tags), Desired: declared.Desired}
	if out.Tags == nil {
		out.Tags = map[string]any{}
	}
	out.Tags[v1alpha1.SetMarkerTag] = map[string]any{
		MarkerKey(set): map[string]any{markerRevision: marker.Revision, markerWave: marker.Wave},
	}
	return out
}

// markerPath leads to a member of a set's marker, for a query.
func markerPath(set types.NamespacedName, member string) []string {
	return []string{string(twin.Tags), v1alpha1.SetMarkerTag, MarkerKey(set), member}
}

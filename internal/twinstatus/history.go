package twinstatus

import (
	"encoding/json"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// MaxHistory is how many writes a status tells of.
const MaxHistory = 10

// What a status keeps of each write. The bounds of the schema are the same or above; maxChangeBytes
// keeps ten writes of a whole twin below what a hundred thousand objects leave room for in etcd.
const (
	maxChanges       = 32
	maxChangeBytes   = 4096 // of one write's changes, as JSON
	maxValue         = 512  // of one value, as JSON
	maxPath          = 512
	maxManager       = 128
	maxHubsRequestID = 256
)

// Written is one write that the hub accepted.
type Written struct {
	At         time.Time
	Generation int64
	Cause      v1alpha1.WriteCause
	// Before and After are the twin's etags.
	Before, After string
	RequestID     string
	// Held is what the hub held, and Patch what was sent.
	Held, Patch twin.Document
}

// Entry is how a status tells of a write.
func Entry(of Written) v1alpha1.TwinWrite {
	entry := v1alpha1.TwinWrite{
		Time: metav1.NewTime(of.At.Truncate(time.Second)), Generation: of.Generation, Cause: of.Cause,
		ETagBefore: of.Before, ETagAfter: of.After, RequestID: outcome.Cut(of.RequestID, maxHubsRequestID),
	}
	room := maxChangeBytes
	for change := range twin.Changes(of.Held, of.Patch) {
		leaf, size := leafChange(change)
		if size > room || len(entry.Changes) == maxChanges {
			entry.Omitted++
			continue
		}
		room -= size
		entry.Changes = append(entry.Changes, leaf)
	}
	return entry
}

// leafChange is a leaf as a status tells of it, and how many bytes that takes: more than there
// can be for one that cannot be told.
func leafChange(change twin.Change) (leaf v1alpha1.LeafChange, size int) {
	leaf.Path = change.Path.Dotted()
	if len(leaf.Path) > maxPath {
		return leaf, maxChangeBytes + 1
	}
	keys := change.Path.Keys()
	hidden := credential.HeldAt(keys, change.Before) || credential.HeldAt(keys, change.After)
	var err error
	if leaf.Before, err = leafValue(change.Before, hidden, &leaf.Withheld); err == nil {
		leaf.After, err = leafValue(change.After, hidden, &leaf.Withheld)
	}
	text, failed := json.Marshal(leaf)
	if err != nil || failed != nil {
		return leaf, maxChangeBytes + 1
	}
	return leaf, len(text) + len(",")
}

// leafValue is a value, nil for none, or a text in its place.
func leafValue(value any, hidden bool, withheld *v1alpha1.WithheldValue) (*runtime.RawExtension, error) {
	if value == nil {
		return nil, nil
	}
	if hidden {
		*withheld = v1alpha1.WithheldHidden
		return AsStored(credential.Hidden)
	}
	stored, err := AsStored(value)
	if err != nil || len(stored.Raw) <= maxValue {
		return stored, err
	}
	*withheld = v1alpha1.WithheldCut
	// As much of the JSON as fits when it is spelled as a text, whose quotes are escaped.
	for room := maxValue; ; {
		text, err := AsStored(outcome.Cut(string(stored.Raw), room) + "…")
		if err != nil || len(text.Raw) <= maxValue {
			return text, err
		}
		room = room * maxValue / len(text.Raw)
	}
}

// History is a history with later writes, newest first. Those that it holds already are
// not told twice: the answer to the status write that told them may have been lost.
func History(before, later []v1alpha1.TwinWrite) []v1alpha1.TwinWrite {
	told := func(entry v1alpha1.TwinWrite) bool {
		return slices.ContainsFunc(before, func(known v1alpha1.TwinWrite) bool {
			return known.ETagBefore == entry.ETagBefore && known.ETagAfter == entry.ETagAfter && known.RequestID == entry.RequestID && known.Time.Equal(&entry.Time)
		})
	}
	all := slices.DeleteFunc(slices.Clone(later), told)
	slices.Reverse(all)
	all = append(all, before...)
	return all[:min(len(all), MaxHistory)]
}

// LastEditor is the field manager that edited the spec of an object last, by its managed
// fields; empty where they do not tell.
func LastEditor(managed []metav1.ManagedFieldsEntry) string {
	var last metav1.ManagedFieldsEntry
	for _, entry := range managed {
		if entry.Subresource == "" && entry.Time != nil && ownsSpec(entry) && (last.Time == nil || !entry.Time.Before(last.Time)) {
			last = entry
		}
	}
	return outcome.Cut(last.Manager, maxManager)
}

func ownsSpec(entry metav1.ManagedFieldsEntry) bool {
	var fields struct {
		Spec json.RawMessage `json:"f:spec"`
	}
	return entry.FieldsV1 != nil && json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) == nil && fields.Spec != nil
}

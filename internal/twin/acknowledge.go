package twin

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// Stamps says when a desired property and everything below it was last written:
// the hub's $metadata as a tree.
type Stamps struct {
	// Version is $lastUpdatedVersion; 0 where the hub keeps none.
	Version int64
	// Updated is $lastUpdated; zero where it is missing.
	Updated time.Time
	Members map[string]Stamps
}

// Acknowledgement is what a device says about the desired properties that are
// declared, by IoT Plug and Play's conventions or by reporting equal values.
type Acknowledgement struct {
	// Declared counts the declared leaves, Spoken those that the device has ever
	// reported in any form.
	Declared, Spoken int
	// Pending are the leaves that it has not acknowledged.
	Pending Paths
	// PendingSince is when the oldest of them was written, by the hub's clock;
	// zero when that is not known.
	PendingSince time.Time
	// Rejected are pending leaves that the device refused.
	Rejected []Rejection
}

// Rejection is a device's refusal of a desired property.
type Rejection struct {
	Path Path
	// Code is the ack's status, by the conventions an HTTP status.
	Code int64
	// Description is the device's own explanation; may be empty.
	Description string
}

// String says what was refused, and in which words.
func (r Rejection) String() string {
	text := r.Path.String() + " with code " + strconv.FormatInt(r.Code, 10)
	if r.Description != "" {
		text += " (" + show(r.Path, r.Description) + ")"
	}
	return text
}

// The members of an acknowledgement by IoT Plug and Play's conventions.
const (
	ackCode        = "ac"
	ackVersion     = "av"
	ackDescription = "ad"
	// ackAccepted is the code of a property that the device has taken over.
	ackAccepted = 200
)

// Acknowledge holds the declared desired properties against what the device
// reports. A leaf is acknowledged by an equal value at its own path, or by an ack
// there or above with code 200 and a version not older than the leaf's.
func Acknowledge(declared map[string]any, stamps Stamps, reported map[string]any) Acknowledgement {
	var a Acknowledgement
	a.members(Path{section: Desired}, declared, stamps, reported, nil)
	return a
}

// ack is the nearest acknowledgement above a leaf.
type ack struct {
	code, version int64
	description   string
}

func (a *Acknowledgement) members(at Path, declared map[string]any, stamps Stamps, reported map[string]any, above *ack) {
	for _, key := range slices.Sorted(maps.Keys(declared)) {
		said, spoken := reported[key]
		here := above
		if found, ok := ackOf(said); ok {
			here = &found
		}
		below, isObject := asObject(declared[key])
		if isObject && len(below) > 0 {
			saidBelow, _ := asObject(said)
			a.members(at.child(key), below, stamps.Members[key], saidBelow, here)
			continue
		}
		a.leaf(at.child(key), declared[key], stamps.Members[key], said, spoken, here)
	}
}

func (a *Acknowledgement) leaf(at Path, want any, stamp Stamps, said any, spoken bool, by *ack) {
	a.Declared++
	if spoken || by != nil {
		a.Spoken++
	}
	_, anyObject := asObject(said)
	_, wantObject := asObject(want)
	current := by != nil && by.version >= stamp.Version
	switch {
	case spoken && (equalValues(want, said) || (wantObject && anyObject)),
		current && by.code == ackAccepted:
		return
	case current:
		a.Rejected = append(a.Rejected, Rejection{Path: at, Code: by.code, Description: by.description})
	}
	a.Pending = append(a.Pending, at)
	if !stamp.Updated.IsZero() && (a.PendingSince.IsZero() || stamp.Updated.Before(a.PendingSince)) {
		a.PendingSince = stamp.Updated
	}
}

func ackOf(said any) (ack, bool) {
	object, _ := asObject(said)
	code, hasCode := number(object[ackCode])
	version, hasVersion := number(object[ackVersion])
	if !hasCode || !hasVersion {
		return ack{}, false
	}
	description, _ := object[ackDescription].(string)
	return ack{code: int64(code), version: int64(version), description: description}, true
}

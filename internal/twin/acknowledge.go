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
	// By is $lastUpdatedBy, the id of the configuration or deployment that wrote it; ""
	// for any other writer.
	By      string
	Members map[string]Stamps
}

// member is what is known of one key. A hub may leave members out of $metadata, for
// example after an object took a string's place: what is known above counts then, lest an
// acknowledgement of anything older be taken for one of this.
func (s Stamps) member(key string) Stamps {
	if found, ok := s.Members[key]; ok {
		return found
	}
	return Stamps{Version: s.Version, Updated: s.Updated, By: s.By}
}

// Writer is the id of the configuration or deployment that last wrote what stands at a
// path; "" for any other writer, and where the hub does not tell: it does not of tags.
func (s Stamps) Writer(of Path) string {
	if of.section != Desired {
		return ""
	}
	for _, key := range of.keys {
		s = s.member(key)
	}
	return s.By
}

// Acknowledgement is what a device says about the desired properties that are
// declared, by IoT Plug and Play's conventions or by reporting equal values.
type Acknowledgement struct {
	// Declared counts the declared leaves, Spoken those that the device has
	// reported at some time, in any form.
	Declared, Spoken int
	// Pending are the leaves that it has not acknowledged.
	Pending Paths
	// PendingSince is when the oldest of them was written, by the hub's clock;
	// zero when that is not known.
	PendingSince time.Time
	// Rejected are pending leaves that the device refused, and Accepted those that it
	// says it is at work on.
	Rejected, Accepted []Reply
}

// Reply is what a device says of a desired property that it has not taken over.
type Reply struct {
	Path Path
	// Code is the ack's status, by the conventions an HTTP status.
	Code int64
	// Description is the device's own explanation; may be empty.
	Description string
}

// String says what the reply is about, and in which words.
func (r Reply) String() string {
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
	// ackDone is the code of a property that the device has taken over. Others below
	// ackRefused, 202 above all, say that it is at work on it.
	ackDone    = 200
	ackLeast   = 100
	ackRefused = 400
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
			a.members(at.child(key), below, stamps.member(key), saidBelow, here)
			continue
		}
		a.leaf(at.child(key), declared[key], stamps.member(key), said, spoken, here)
	}
}

func (a *Acknowledgement) leaf(at Path, want any, stamp Stamps, said any, spoken bool, by *ack) {
	a.Declared++
	if spoken || by != nil {
		a.Spoken++
	}
	_, anyObject := asObject(said)
	_, wantObject := asObject(want)
	if spoken && (equalValues(want, said) || (wantObject && anyObject)) {
		return
	}
	if by != nil && by.version >= stamp.Version && a.replied(at, by) {
		return
	}
	a.Pending = append(a.Pending, at)
	if !stamp.Updated.IsZero() && (a.PendingSince.IsZero() || stamp.Updated.Before(a.PendingSince)) {
		a.PendingSince = stamp.Updated
	}
}

// replied notes a reply to what is declared, and tells whether it is an acknowledgement.
func (a *Acknowledgement) replied(at Path, by *ack) (done bool) {
	reply := Reply{Path: at, Code: by.code, Description: by.description}
	switch {
	case by.code == ackDone:
		return true
	case by.code >= ackLeast && by.code < ackRefused:
		a.Accepted = append(a.Accepted, reply)
	default:
		a.Rejected = append(a.Rejected, reply)
	}
	return false
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

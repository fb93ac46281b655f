// Package revisions keeps the revisions of DeviceTwinSets as ControllerRevisions, as
// StatefulSets have theirs: what a twin's marker names is known for as long as a device may hold it.
package revisions

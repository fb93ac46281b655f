// Package past reads the history in a DeviceTwin's status: what was written to the hub, and what the object declared before.
//
// It is pure: it does no I/O and keeps nothing.
package past

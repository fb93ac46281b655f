// Package registration registers the device or module of a DeviceTwin at most once,
// recognizes it again, and keeps its keys in a Secret.
//
// A key is in no message, event or status: the status holds hashes.
package registration

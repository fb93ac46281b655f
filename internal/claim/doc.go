// Package claim decides which of several DeviceTwins of one twin keeps it, so that no two
// write to it.
//
// It never talks to a hub, and writes no object: status.target is written with the rest of
// the status.
package claim

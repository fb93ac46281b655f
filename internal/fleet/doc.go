// Package fleet decides what a DeviceTwinSet does next: which revision its devices are to
// hold, which of them belong to which wave, what is asked of the hub's index about them, and
// whether a rollout goes on, waits, stops or returns.
//
// It does no I/O, keeps no state and no clock: what a rollout has come to stands in the
// object's status and in the twins.
package fleet

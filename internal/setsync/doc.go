// Package setsync carries out what a DeviceTwinSet does at its hub, in steps of about a second:
// it asks the index which devices are behind, plans and writes each on the condition of its
// etag, follows those that were written until they have answered, and counts.
//
// It decides nothing about a rollout, which internal/fleet does, and keeps no memory of a device
// beyond what the index may not show yet.
package setsync

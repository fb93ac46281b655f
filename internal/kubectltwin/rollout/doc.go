// Package rollout says where the rollout of a DeviceTwinSet stands, by what its object tells: how far each wave
// is, whether it has ended and how, what it waits for, and what a user may do about it. It does no I/O.
package rollout

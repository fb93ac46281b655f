// Package compare holds what a DeviceTwin declares beside what its status tells of the hub and of the device, leaf by leaf.
//
// It is pure, and never guesses: what the status does not tell is unknown.
package compare

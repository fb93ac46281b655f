// Package hubqueue has objects of one kind wait for a permit at their hub without holding a
// worker: the hub's dispatcher triggers them when they have one.
//
// It never talks to a hub.
package hubqueue

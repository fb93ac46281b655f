// Package reference says what the hub may hold after a sequence of events,
// according to the operator's documents: who owns which leaf, what the record
// authorises, who wins. It imports nothing of the operator, so that the two can
// disagree.
//
// Twins are flat here: a set of leaves, each a path and a value. What the operator
// does in between is not observed, so a Device holds every state that the rules
// allow: each event happens to all of them, and before and after it any visit may
// or may not have taken place, in part or as a whole. When everything has come to
// rest, only states remain in which no visit has anything left to do; what the hub
// really holds has to be one of them.
//
// What other tools do to an object has no rules of its own. An object that is replaced by
// what is in Git was edited, or was not; annotations that are pruned say nothing; a
// finalizer that is pruned is back when things are at rest. Only a status that is wiped
// takes the record with it.
//
// Of DeviceTwinSets a Fleet is told each change of a twin in the order in which the hub made them. What the
// sets have changed it judges at once: whether a set may have written that, to that device, then. At rest
// it wants nothing to be left that a set would change.
package reference

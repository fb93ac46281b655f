// Package outcome says what an error means for the object that was reconciled: who moves
// next, which conditions follow, when to reconcile again. It is the one place that turns
// the one into the other, and that writes statuses and events.
//
// It never talks to a hub, and knows no kind of object beyond its conditions.
package outcome

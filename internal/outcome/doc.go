// Package outcome says what an error means for the object that was reconciled: who has to
// act next, which conditions follow, when to reconcile again. It is the one place that
// translates errors into these, and that writes statuses and events.
//
// It never talks to a hub, and knows no kind of object beyond its conditions.
package outcome

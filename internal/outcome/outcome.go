package outcome

import (
	"time"
	"unicode/utf8"
)

// Class says who moves next.
type Class int

const (
	// Succeeded is for no one to move: reconcile again at the object's own interval.
	Succeeded Class = iota
	// Suspended is for the user, on purpose; nothing is done meanwhile.
	Suspended
	// Waiting is for another object or another writer, which triggers the next reconcile.
	Waiting
	// Transient is for time: reconcile again with back-off.
	Transient
	// Stalled is for the user, who has to change something; reconcile again slowly.
	Stalled
	// Unseen is for what this process has not reconciled yet. Nothing is
	// reported: what the status says stands.
	Unseen
	// Parked is for the hub's dispatcher, which triggers the object when it has a permit for
	// it. Nothing is reported either.
	Parked
)

// Outcome is how one reconcile of an object ended.
type Outcome struct {
	Class   Class
	Reason  string
	Message string
	// RetryAfter is when to reconcile again at the soonest; zero leaves it to the class.
	RetryAfter time.Duration
	// Differs tells that the hub is known not to hold what is declared.
	Differs bool
	// Err is the cause, for the log.
	Err error
}

// outcomeError is an error that already knows its outcome.
type outcomeError struct{ Outcome }

func (e *outcomeError) Error() string { return e.Reason + ": " + e.Message }
func (e *outcomeError) Unwrap() error { return e.Err }

// AsError is an error whose outcome is given.
func AsError(o Outcome) error { return &outcomeError{o} }

// Stall is for what the user has to change.
func Stall(reason, message string) error {
	return AsError(Outcome{Class: Stalled, Reason: reason, Message: message})
}

// Wait is for what another object or another writer has to do.
func Wait(reason, message string) error {
	return AsError(Outcome{Class: Waiting, Reason: reason, Message: message})
}

// Differ is for a hub that does not hold what is declared; the class says who has to act.
func Differ(c Class, reason, message string) error {
	return AsError(Outcome{Class: c, Reason: reason, Message: message, Differs: true})
}

// Stale is for a Kubernetes object that was found older, or newer, than it should be: the
// cache catches up in a moment. err is the cause, nil for none.
func Stale(err error) error {
	return AsError(Outcome{Class: Unseen, RetryAfter: staleRetry, Err: err})
}

// NotSeen is for what this process has not reconciled yet, which triggers the object.
func NotSeen() error { return AsError(Outcome{Class: Unseen}) }

// Park is for an object that the hub's dispatcher triggers when it has a permit for it.
func Park() error { return AsError(Outcome{Class: Parked}) }

// staleRetry is long enough for the cache to catch up with a write.
const staleRetry = 200 * time.Millisecond

// maxMessage bounds a condition's message; the API allows 32 KB.
const maxMessage = 1024

// Bounded cuts a message to what a condition or an event holds.
func Bounded(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + "…"
}

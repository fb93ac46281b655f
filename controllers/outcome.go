package controllers

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// class says who moves next.
type class int

const (
	// succeeded: nobody; look again at the object's own interval.
	succeeded class = iota
	// suspended: a person, on purpose; nothing is done meanwhile.
	suspended
	// waiting: another object or another writer, which will wake us.
	waiting
	// transient: time; look again with back-off.
	transient
	// stalled: a person has to change something; look again slowly.
	stalled
	// unseen: something that this process has not looked at yet. Nothing is
	// reported: what the status says stands.
	unseen
	// parked: the hub's dispatcher, which wakes the object when its turn has come.
	// Nothing is reported either.
	parked
)

// outcome is how one visit to an object ended.
type outcome struct {
	class   class
	reason  string
	message string
	// retryAfter is when to look again at the soonest; zero leaves it to the class.
	retryAfter time.Duration
	// differs tells that the hub is known not to hold what is declared.
	differs bool
	// err is the cause, for the log.
	err error
}

// maxMessage bounds a condition's message; the API allows 32 KB.
const maxMessage = 1024

// stop is an error that already knows its outcome.
type stop struct{ outcome }

func (s *stop) Error() string { return s.reason + ": " + s.message }
func (s *stop) Unwrap() error { return s.err }

func stopStalled(reason, message string) error {
	return &stop{outcome{class: stalled, reason: reason, message: message}}
}

func stopDiffering(c class, reason, message string) error {
	return &stop{outcome{class: c, reason: reason, message: message, differs: true}}
}

func stopWaiting(reason, message string) error {
	return &stop{outcome{class: waiting, reason: reason, message: message}}
}

var errUnseen = &stop{outcome{class: unseen}}

// throttleRetry is what IoT Hub's own words ask for when it throttles; it sends no
// Retry-After header.
const throttleRetry = 10 * time.Second

// quotaRetry is the pace while the hub's daily quota is used up. It is filled
// again at 00:00 UTC, and somebody may buy units before.
const quotaRetry = 10 * time.Minute

// hubOutcomes says what each refusal of a hub means for the object that asked.
var hubOutcomes = map[hub.Reason]outcome{
	hub.ReasonMalformedConnectionString: {class: stalled, reason: v1alpha1.ReasonMalformedConnectionString},
	hub.ReasonHostNotAllowed:            {class: stalled, reason: v1alpha1.ReasonHostNotAllowed},
	hub.ReasonInvalidCABundle:           {class: stalled, reason: v1alpha1.ReasonInvalidCABundle},
	hub.ReasonUnauthorized:              {class: stalled, reason: v1alpha1.ReasonUnauthorized},
	hub.ReasonForbidden:                 {class: stalled, reason: v1alpha1.ReasonForbidden},
	hub.ReasonUnknownHost:               {class: transient, reason: v1alpha1.ReasonUnknownHost},
	hub.ReasonUntrustedCertificate:      {class: stalled, reason: v1alpha1.ReasonUntrustedCertificate},
	hub.ReasonDeviceNotFound:            {class: stalled, reason: v1alpha1.ReasonDeviceNotFound, differs: true},
	hub.ReasonRefused:                   {class: stalled, reason: v1alpha1.ReasonRefusedByHub, differs: true},
	hub.ReasonAlreadyExists:             {class: transient, reason: v1alpha1.ReasonHubError},
	hub.ReasonPreconditionFailed:        {class: transient, reason: v1alpha1.ReasonContended},
	hub.ReasonThrottled:                 {class: transient, reason: v1alpha1.ReasonThrottled, retryAfter: throttleRetry},
	hub.ReasonQuotaExceeded:             {class: waiting, reason: v1alpha1.ReasonQuotaExceeded, retryAfter: quotaRetry},
	hub.ReasonUnreachable:               {class: transient, reason: v1alpha1.ReasonHubUnreachable},
	hub.ReasonServerError:               {class: transient, reason: v1alpha1.ReasonHubError},
	hub.ReasonNotLeading:                {class: unseen},
	hub.ReasonUnexpectedAnswer:          {class: transient, reason: v1alpha1.ReasonHubError},
}

// outcomeOf is the one place that says what an error means.
func outcomeOf(err error) outcome {
	var known *stop
	var refusal *hub.Error
	switch {
	case err == nil:
		return outcome{class: succeeded, reason: v1alpha1.ReasonSucceeded}
	case errors.As(err, &known):
		out := known.outcome
		if out.class == transient {
			out.err = err // the queue backs off for errors only
		}
		return out
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), errors.Is(err, context.Canceled):
		// Our copy of a Kubernetes object is old, or we are told to stop.
		return outcome{class: unseen, retryAfter: staleRetry, err: err}
	case errors.As(err, &refusal):
		out, ok := hubOutcomes[refusal.Reason]
		if !ok {
			out = outcome{class: transient, reason: v1alpha1.ReasonHubError}
		}
		if broken, heard := errors.AsType[*dispatch.BrokenError](err); heard && !broken.Own && out.class != transient && out.class != unseen {
			// What another one met is no fact about this one's credential.
			out = outcome{class: transient, reason: v1alpha1.ReasonHubUnreachable}
		}
		out.message, out.err = bounded(refusal.Error()), err
		out.retryAfter = max(out.retryAfter, refusal.RetryAfter)
		return out
	}
	// What is left comes from the Kubernetes API server: the status could not be
	// written either. The queue's back-off and the log are the right place.
	return outcome{class: unseen, err: err}
}

// staleRetry is long enough for the cache to catch up with a write.
const staleRetry = 200 * time.Millisecond

func bounded(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + "…"
}

package outcome

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// throttleRetry is what IoT Hub's own words ask for when it throttles; it sends no
// Retry-After header.
const throttleRetry = 10 * time.Second

// quotaRetry is the pace while the hub's daily quota is used up. It is filled
// again at 00:00 UTC, and units may be bought before.
const quotaRetry = 10 * time.Minute

// hubOutcomes says what each refusal of a hub means for the object that asked.
var hubOutcomes = map[hub.Reason]Outcome{
	hub.ReasonMalformedConnectionString: {Class: Stalled, Reason: v1alpha1.ReasonMalformedConnectionString},
	hub.ReasonHostNotAllowed:            {Class: Stalled, Reason: v1alpha1.ReasonHostNotAllowed},
	hub.ReasonInvalidCABundle:           {Class: Stalled, Reason: v1alpha1.ReasonInvalidCABundle},
	hub.ReasonUnauthorized:              {Class: Stalled, Reason: v1alpha1.ReasonUnauthorized},
	hub.ReasonForbidden:                 {Class: Stalled, Reason: v1alpha1.ReasonForbidden},
	hub.ReasonUnknownHost:               {Class: Transient, Reason: v1alpha1.ReasonUnknownHost},
	hub.ReasonUntrustedCertificate:      {Class: Stalled, Reason: v1alpha1.ReasonUntrustedCertificate},
	hub.ReasonDeviceNotFound:            {Class: Stalled, Reason: v1alpha1.ReasonDeviceNotFound, Differs: true},
	hub.ReasonRefused:                   {Class: Stalled, Reason: v1alpha1.ReasonRefusedByHub, Differs: true},
	hub.ReasonDeviceOffline:             {Class: Transient, Reason: v1alpha1.ReasonHubError},
	hub.ReasonDeviceTimeout:             {Class: Transient, Reason: v1alpha1.ReasonHubError},
	hub.ReasonAlreadyExists:             {Class: Transient, Reason: v1alpha1.ReasonHubError},
	hub.ReasonPreconditionFailed:        {Class: Transient, Reason: v1alpha1.ReasonContended},
	hub.ReasonThrottled:                 {Class: Transient, Reason: v1alpha1.ReasonThrottled, RetryAfter: throttleRetry},
	hub.ReasonQuotaExceeded:             {Class: Waiting, Reason: v1alpha1.ReasonQuotaExceeded, RetryAfter: quotaRetry},
	hub.ReasonUnreachable:               {Class: Transient, Reason: v1alpha1.ReasonHubUnreachable},
	hub.ReasonServerError:               {Class: Transient, Reason: v1alpha1.ReasonHubError},
	hub.ReasonNotLeading:                {Class: Unseen},
	hub.ReasonUnexpectedAnswer:          {Class: Transient, Reason: v1alpha1.ReasonHubError},
}

// Of is the one place that says what an error means; nil is success.
func Of(err error) Outcome {
	var known *outcomeError
	var refusal *hub.Error
	switch {
	case err == nil:
		return Outcome{Class: Succeeded, Reason: v1alpha1.ReasonSucceeded}
	case errors.As(err, &known):
		out := known.Outcome
		if out.Class == Transient {
			out.Err = err // the queue backs off for errors only
		}
		return out
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), errors.Is(err, context.Canceled):
		// Our copy of a Kubernetes object is old, or the manager is stopping.
		return Outcome{Class: Unseen, RetryAfter: staleRetry, Err: err}
	case errors.As(err, &refusal):
		return ofHub(refusal, err)
	}
	// What is left comes from the Kubernetes API server: the status could not be
	// written either. The queue's back-off and the log are the right place.
	return Outcome{Class: Unseen, Err: err}
}

// ofHub is what the refusal of a hub means, which err wraps.
func ofHub(refusal *hub.Error, err error) Outcome {
	out, ok := hubOutcomes[refusal.Reason]
	if !ok {
		out = Outcome{Class: Transient, Reason: v1alpha1.ReasonHubError}
	}
	if broken, heard := errors.AsType[*dispatch.BrokenError](err); heard && !broken.Own && out.Class != Transient && out.Class != Unseen {
		// What another one met is no fact about this one's credential.
		out = Outcome{Class: Transient, Reason: v1alpha1.ReasonHubUnreachable}
	}
	out.Message, out.Err = Bounded(refusal.Error()), err
	out.RetryAfter = max(out.RetryAfter, refusal.RetryAfter)
	return out
}

package hub

import (
	"errors"
	"time"
)

// Reason is the kind of an Error: what callers decide by.
type Reason string

// The reasons of this package's errors.
const (
	// ReasonMalformedConnectionString: the connection string lacks a part or holds one that cannot be used.
	ReasonMalformedConnectionString Reason = "MalformedConnectionString"
	// ReasonHostNotAllowed: the credential may not be sent to that host.
	ReasonHostNotAllowed Reason = "HostNotAllowed"
	// ReasonInvalidCABundle: the CA bundle is not a list of PEM certificates.
	ReasonInvalidCABundle Reason = "InvalidCABundle"
	// ReasonUnauthorized: the hub does not accept the credential (401), or Entra ID does not sign its application in.
	ReasonUnauthorized Reason = "Unauthorized"
	// ReasonUnknownHost: DNS says that there is no such host name. When it says nothing the host is unreachable.
	ReasonUnknownHost Reason = "UnknownHost"
	// ReasonUntrustedCertificate: the host's certificate is not trusted, has expired or is for another name.
	ReasonUntrustedCertificate Reason = "UntrustedCertificate"
	// ReasonDeviceNotFound: the hub has no such device.
	ReasonDeviceNotFound Reason = "DeviceNotFound"
	// ReasonDeviceOffline: the device or module is not connected, or takes no methods; nothing was called.
	ReasonDeviceOffline Reason = "DeviceOffline"
	// ReasonDeviceTimeout: the device or module was called, and did not answer in time.
	ReasonDeviceTimeout Reason = "DeviceTimeout"
	// ReasonAlreadyExists: there is such a device or module already (409); nothing was created.
	ReasonAlreadyExists Reason = "AlreadyExists"
	// ReasonPreconditionFailed: the twin has changed since the etag was read (412); nothing was written.
	ReasonPreconditionFailed Reason = "PreconditionFailed"
	// ReasonThrottled: too many requests, by the hub's count (429) or by our own rate limit.
	ReasonThrottled Reason = "Throttled"
	// ReasonQuotaExceeded: the hub's daily message quota is used up; it starts anew at midnight UTC.
	ReasonQuotaExceeded Reason = "QuotaExceeded"
	// ReasonRefused: the patch, the query or the device id is invalid; sending it again cannot help.
	ReasonRefused Reason = "Refused"
	// ReasonForbidden: the hub does not offer the operation (403).
	ReasonForbidden Reason = "Forbidden"
	// ReasonUnreachable: no answer, or half of one: refused, reset or timed out, or the caller's context ended.
	ReasonUnreachable Reason = "Unreachable"
	// ReasonServerError: the hub or something in front of it failed (5xx).
	ReasonServerError Reason = "ServerError"
	// ReasonNotLeading: another process may be the leader by now; nothing was sent.
	ReasonNotLeading Reason = "NotLeading"
	// ReasonUnexpectedAnswer: an answer that IoT Hub does not give, such as a redirect or a page of a proxy.
	ReasonUnexpectedAnswer Reason = "UnexpectedAnswer"
)

// Error is every error of this package. Its text says what happened and what to do next, reads the same each time the
// same thing happens, and never holds a credential.
type Error struct {
	// Reason is what callers decide by.
	Reason Reason
	// Op is the operation: probe, getTwin, updateTwin, query, getIdentity, createIdentity, updateIdentity, deleteIdentity
	// or invokeMethod; empty when a session could not be opened.
	Op string
	// Host is the hub's host; empty when it is not known.
	Host string
	// ID names the twin the operation was about; empty when it was about none.
	ID ID
	// Status is the HTTP status of the answer; 0 when there was none.
	Status int
	// Code is IoT Hub's name for the error, such as ThrottlingBacklogTimeout; empty when it gave none.
	Code string
	// RequestID is IoT Hub's id of the request, for a support case. It is not part of the text.
	RequestID string
	// RetryAfter is how long to wait before trying again, as the hub or our own rate limit asks; 0 when neither does.
	RetryAfter time.Duration
	// Sent is true when the request may have reached the hub and what came of it is not known.
	Sent bool
	// SecondHand is true when no request was made, since the hub, or the session's own way to it, failed lately: the
	// error repeats what an earlier request met, which may have been that of another session, and will pass.
	SecondHand bool

	// ofSession tells that the trouble is at the session's own end.
	ofSession bool

	detail string
	err    error
}

// Error implements error.
func (e *Error) Error() string { return e.text() }

// Unwrap returns the cause when it lies below HTTP. Its text may differ from call to call.
func (e *Error) Unwrap() error { return e.err }

// ReasonOf returns the reason of the *Error in err's chain, and "" when there is none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// OutcomeUnknown is true when err is about a write that may or may not have been applied: its answer was lost to a
// timeout, a broken connection, a failing server or the end of the caller's context. Only a read can tell.
func OutcomeUnknown(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Sent && operation(e.Op).writes()
}

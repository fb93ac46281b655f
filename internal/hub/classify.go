package hub

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// failure turns what went wrong in a call into an *Error.
func (s *session) failure(ctx context.Context, ex *exchange, err error) error {
	err = ownError(ctx, err)
	if own, ok := errors.AsType[*Error](err); ok {
		return s.complete(new(*own), ex) // a copy: others may hold it as what the hub failed with last
	}
	switch {
	case !ex.started:
		return s.refused(ex, "the request cannot be encoded; a value in it is not JSON")
	case ex.status != 0:
		return s.answered(ex)
	}
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	reason, detail := transportReason(err)
	if ctx.Err() != nil {
		detail = "the caller's time ran out, or it was stopped, before an answer came"
	}
	return s.complete(&Error{Reason: reason, Sent: ex.connected.Load(), detail: detail, err: err}, ex)
}

// ownError is what went wrong in the call itself. Of a context that ended, net/http returns the cause, which may be the
// error of another call: that one's device, status and outcome say nothing of this one.
func ownError(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if _, other := errors.AsType[*Error](cause); other && errors.Is(err, cause) {
		return ctx.Err()
	}
	return err
}

// complete adds what every error of a call carries.
func (s *session) complete(e *Error, ex *exchange) *Error {
	e.Op, e.Host, e.ID = string(ex.op), s.host, ex.id
	if ex.status != 0 {
		e.Status = ex.status
	}
	if e.Reason == ReasonUnexpectedAnswer {
		e.Sent = ex.connected.Load()
	}
	return e
}

func (s *session) refused(ex *exchange, detail string) *Error {
	return s.complete(&Error{Reason: ReasonRefused, detail: detail}, ex)
}

func (s *session) unexpected(ex *exchange, detail string) *Error {
	return s.complete(&Error{Reason: ReasonUnexpectedAnswer, detail: detail}, ex)
}

// secretsOf are those that the hub could send back of an exchange.
func (s *session) secretsOf(ex *exchange) []string {
	return append(secretsOf(s.key, ex.signature), ex.secrets...)
}

// requestID is IoT Hub's id of the last request of an exchange.
func (s *session) requestID(ex *exchange) string {
	return cleanToken(ex.header.Get(requestIDHeader), s.secretsOf(ex))
}

// answered is the error of a call that was answered with another status than the library expects, or with a body it
// cannot read.
func (s *session) answered(ex *exchange) *Error {
	secrets := s.secretsOf(ex)
	code, text := hubError(ex.header, ex.body, secrets)
	reason := statusReason(ex.status, code)
	e := &Error{
		Reason:     reason,
		Code:       code,
		RequestID:  s.requestID(ex),
		RetryAfter: ex.retryAfter,
		Sent:       reason == ReasonServerError || reason == ReasonUnreachable || reason == ReasonDeviceTimeout,
	}
	switch reason {
	case ReasonRefused:
		e.detail = text
		if ex.op == opQuery && text == "" {
			e.detail = "IoT Hub says no more; most often the condition is not valid in its query language"
		}
	case ReasonUnexpectedAnswer:
		e.detail = unexpectedStatus(ex.status)
	default: // the reason says it all
	}
	return s.complete(e, ex)
}

func unexpectedStatus(status int) string {
	switch {
	case status >= 300 && status < 400:
		return "it is a redirect, which is never followed with a credential"
	case status == http.StatusOK:
		return "it cannot be read"
	}
	return "it does not come from IoT Hub"
}

// statusReason tells the reason from an answer's status and IoT Hub's own code. A refusal without a code is not one of
// IoT Hub's: something on the way gave it, and it says nothing about the credential, the device or the change.
func statusReason(status int, code string) Reason {
	switch {
	case status == http.StatusTooManyRequests:
		return ReasonThrottled
	case status == http.StatusPreconditionFailed:
		return ReasonPreconditionFailed
	case status == http.StatusRequestTimeout:
		return ReasonUnreachable
	case status >= 500:
		return failureReason(code)
	case code == "":
		return ReasonUnexpectedAnswer
	case status == http.StatusUnauthorized:
		return ReasonUnauthorized
	case status == http.StatusForbidden:
		return forbiddenReason(code)
	case status == http.StatusNotFound:
		return notFoundReason(code)
	case status == http.StatusConflict && (code == "DeviceAlreadyExists" || code == "ModuleAlreadyExistsOnDevice"):
		return ReasonAlreadyExists
	case status == http.StatusBadRequest, status == http.StatusConflict, status == http.StatusRequestEntityTooLarge:
		return ReasonRefused
	}
	return ReasonUnexpectedAnswer
}

// failureReason tells the failure of a hub from that of a device to answer a method, of which alone IoT Hub says
// GatewayTimeout.
func failureReason(code string) Reason {
	if code == "GatewayTimeout" {
		return ReasonDeviceTimeout
	}
	return ReasonServerError
}

func notFoundReason(code string) Reason {
	switch code {
	case "DeviceNotFound", "ModuleNotFound":
		return ReasonDeviceNotFound
	case "DeviceNotOnline":
		return ReasonDeviceOffline
	}
	return ReasonUnexpectedAnswer
}

func forbiddenReason(code string) Reason {
	switch code {
	case "IotHubQuotaExceeded":
		return ReasonQuotaExceeded
	case "DeviceModelMaxPropertiesExceeded":
		return ReasonRefused
	}
	return ReasonForbidden
}

// transportReason tells the reason when no answer came, with words of our own: those of the network name ports and
// addresses that differ from call to call, and can hold the password of a proxy.
func transportReason(err error) (Reason, string) {
	if own, ok := errors.AsType[*Error](err); ok {
		return own.Reason, own.detail
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		return ReasonUnreachable, "the proxy that HTTPS_PROXY names could not be used"
	}
	if detail := certificateProblem(err); detail != "" {
		return ReasonUntrustedCertificate, detail
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return ReasonUnknownHost, "DNS knows no such name"
		}
		return ReasonUnreachable, "DNS gave no answer about the name"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return ReasonUnexpectedAnswer, "it is not TLS; check the port in HostName"
	}
	return ReasonUnreachable, connectionProblem(err)
}

// certificateProblem says what is wrong with a host's certificate, or nothing when that is not the trouble.
func certificateProblem(err error) string {
	_, failed := errors.AsType[*tls.CertificateVerificationError](err)
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "it is for another name; check HostName in the connection string"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "no trusted authority signed it; put the PEM certificate of its authority into caBundle"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if invalid.Reason == x509.Expired {
			return "it has expired or is not valid yet; renew it, or check the clock of this machine"
		}
		return "it, or an authority above it, may not be used for this; have it issued again"
	}
	if failed {
		return "it could not be verified; check caBundle and the certificate of the host"
	}
	return ""
}

// connectionProblem says how a connection failed.
func connectionProblem(err error) string {
	var alert tls.AlertError
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.Canceled):
		return "the call was given up before an answer came"
	case errors.Is(err, context.DeadlineExceeded), isNet && timeout.Timeout():
		return "no answer came in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing accepts connections there"
	case errors.As(err, &alert):
		return "it broke off the TLS handshake"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke before the answer was complete"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "no route leads there"
	}
	return "the connection failed, or what came is not HTTP"
}

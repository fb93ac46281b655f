package hub

import (
	"encoding/json"
	"errors"
	"net/http"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// class is the throttle that an operation falls under.
func (o operation) class() dispatch.Class {
	switch {
	case o == opUpdateTwin:
		return dispatch.Updates
	case o == opQuery:
		return dispatch.Queries
	case o.onRegistry():
		return dispatch.Registry
	}
	return dispatch.Reads
}

// dispatched holds a request back until the dispatcher has room for it, which it has at once when the context carries a
// permit, and tells it how the request went.
func dispatched(with *standing, c clock.PassiveClock) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			ex := exchangeOf(req)
			class := ex.op.class()
			if err := waits(req, with.share, class); err != nil {
				return nil, err
			}
			started := c.Now()
			res, err := next.RoundTrip(req)
			if ex.signedIn.After(started) {
				started = ex.signedIn
			}
			answer := dispatch.Answer{Class: class, Took: c.Since(started)}
			switch {
			case err == nil:
				if spoiled(req, res) {
					answer.Failure = &Error{Reason: ReasonUnexpectedAnswer, Status: res.StatusCode, detail: "the answer is cut short, or no JSON"}
				} else {
					with.hear(verdictOf(ex.op, res))
				}
				answerOf(&answer, req, res, c)
			case req.Context().Err() != nil:
				with.share.CalledOff()
				return nil, err
			case ofSession(err):
				answer.Own, answer.Failure = true, err
			case ReasonOf(err) != "":
				// An answer of its own kind: it says nothing about the hub's load.
				with.share.CalledOff()
				return nil, err
			default:
				answer.Failure = err
			}
			with.share.Answered(answer)
			return res, err
		})
	}
}

// turnedAway is the error of a request that was not made. Where the hub has not answered lately it says what was met
// last, in the same words.
func turnedAway(err error) error {
	if short, ok := errors.AsType[*dispatch.NoRoomError](err); ok {
		return &Error{
			Reason: ReasonThrottled, RetryAfter: short.RetryAfter,
			detail: "our own rate limit for this hub has no room before the call's deadline",
		}
	}
	broken, ok := errors.AsType[*dispatch.BrokenError](err)
	if !ok {
		return err
	}
	e := &Error{RetryAfter: broken.RetryAfter, SecondHand: true, ofSession: broken.Own, err: broken}
	if last, ok := errors.AsType[*Error](broken.Last); ok {
		e.Reason, e.Status, e.Code, e.detail = last.Reason, last.Status, last.Code, last.detail
	} else {
		e.Reason, e.detail = transportReason(broken.Last)
	}
	if !broken.Own && e.Reason != ReasonServerError {
		// Another session may have met it, and what it means for that one says nothing of this one.
		e.Reason = ReasonUnreachable
	}
	return e
}

// spoiled tells whether what should be a twin or an identity is not even JSON: whatever sent it is no hub that works, and
// asking again at once would bring the same. A page of a query's answer can be so for what one twin holds.
func spoiled(req *http.Request, res *http.Response) bool {
	body, whole := res.Body.(*wholeBody)
	ex := exchangeOf(req)
	if !whole || res.StatusCode != http.StatusOK || ex.op == opQuery {
		return false
	}
	if ex.op.answersTwin() {
		if _, err := ex.twinIn(body.bytes); err == nil {
			return false
		}
	}
	return !json.Valid(body.bytes)
}

// answerOf fills in what an answer says. IoT Hub bills a change by what is sent, and a read by what comes back.
func answerOf(answer *dispatch.Answer, req *http.Request, res *http.Response, c clock.PassiveClock) {
	answer.Status = res.StatusCode
	if res.StatusCode >= http.StatusInternalServerError {
		code, _ := hubError(res.Header, nil, nil)
		// A device that does not answer is no failure of its hub.
		if reason := statusReason(res.StatusCode, code); reason != ReasonDeviceTimeout {
			answer.Failure = &Error{Reason: reason, Status: res.StatusCode, Code: code}
		}
	}
	answer.RetryAfter = parseRetryAfter(res.Header.Get("Retry-After"), c.Now())
	answer.QuotaExceeded = res.StatusCode == http.StatusForbidden && forbiddenReason(res.Header.Get(errorCodeHeader)) == ReasonQuotaExceeded
	if answer.Class == dispatch.Updates {
		answer.Bytes = int(req.ContentLength)
	} else if body, ok := res.Body.(*wholeBody); ok {
		answer.Bytes = len(body.bytes)
	}
}

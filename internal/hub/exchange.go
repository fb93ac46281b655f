package hub

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// operation names what a request is for, in errors and metrics.
type operation string

const (
	opProbe      operation = "probe"
	opGetTwin    operation = "getTwin"
	opUpdateTwin operation = "updateTwin"
	opQuery      operation = "query"

	opGetIdentity    operation = "getIdentity"
	opCreateIdentity operation = "createIdentity"
	opUpdateIdentity operation = "updateIdentity"
	opDeleteIdentity operation = "deleteIdentity"

	opInvokeMethod operation = "invokeMethod"
)

// onRegistry is true for the operations on identities.
func (o operation) onRegistry() bool {
	return o == opGetIdentity || o == opCreateIdentity || o == opUpdateIdentity || o == opDeleteIdentity
}

// answersTwin is true for the operations that a twin is the answer to.
func (o operation) answersTwin() bool { return o == opProbe || o == opGetTwin || o == opUpdateTwin }

// writes is true for the operations that change the hub or a device.
func (o operation) writes() bool {
	return o == opInvokeMethod || o == opUpdateTwin || o == opCreateIdentity || o == opUpdateIdentity || o == opDeleteIdentity
}

// exchange travels with the context of one call: what the call is about on the way out, and what the library does not
// hand on of the answer on the way back.
type exchange struct {
	op operation
	id ID
	// request is sent in the place of what the library makes of a call; nil for that.
	request []byte
	// patience is how long an answer may take; callTimeout where it is 0.
	patience time.Duration
	// secrets that the request carries in its body.
	secrets []string
	// rows is how many a page of a query's answer may have; 0 is for as many as there can be.
	rows int
	// from is where the answer to a query is to be continued; empty from its beginning.
	from string

	signedIn   time.Time   // when the request had its access token, which may take longer than the hub; zero without one
	started    bool        // the library got as far as sending a request
	connected  atomic.Bool // the request was given a connection, so some of it may have been sent
	signature  string      // the request's Authorization, only to keep it out of error texts
	answers    int         // how many requests were answered in full: a query makes one for each page
	status     int         // 0 until the last request was answered in full
	header     http.Header
	body       []byte
	retryAfter time.Duration

	// twin is what the answer holds of one, once twinIn has read it, and noTwin what is wrong with it.
	twin   *Twin
	noTwin error
}

// errOtherTwin is of an answer to another question.
var errOtherTwin = errors.New("the answer is not about the twin that was asked for")

// twinIn reads the twin in the body of the answer, once.
func (ex *exchange) twinIn(body []byte) (*Twin, error) {
	if ex.twin == nil && ex.noTwin == nil {
		ex.twin, ex.noTwin = decodeTwin(body, func(id ID) error {
			if id != ex.id {
				return errOtherTwin
			}
			return nil
		})
	}
	return ex.twin, ex.noTwin
}

type exchangeKey struct{}

func withExchange(ctx context.Context, ex *exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, ex)
}

func exchangeOf(req *http.Request) *exchange {
	ex, ok := req.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		// Requests come from the sessions of this package only; this one still gets its metrics, limits and checks.
		return &exchange{op: "other"}
	}
	return ex
}

// capture keeps of an answer what the library drops: its header, and the body as it came.
func capture(c clock.PassiveClock) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			ex := exchangeOf(req)
			ex.started, ex.status, ex.header, ex.body, ex.retryAfter = true, 0, nil, nil, 0
			ex.twin, ex.noTwin = nil, nil
			ex.signedIn = time.Time{}
			ex.signature = req.Header.Get("Authorization")
			ex.connected.Store(false)
			trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { ex.connected.Store(true) }}
			res, err := next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
			if err != nil {
				return nil, err
			}
			ex.answers++
			ex.status, ex.header = res.StatusCode, res.Header
			ex.retryAfter = parseRetryAfter(res.Header.Get("Retry-After"), c.Now())
			if whole, ok := res.Body.(*wholeBody); ok {
				ex.body = whole.bytes
				if res.StatusCode == http.StatusOK {
					whole.Reset(ex.forLibrary())
				}
			}
			return res, nil
		})
	}
}

// forLibrary is what the library is given of an answer: nothing of one that is read out of the answer itself. It would
// decode each twin a second time.
func (ex *exchange) forLibrary() []byte {
	switch ex.op {
	case opQuery:
		return []byte(onePage)
	case opGetTwin, opUpdateTwin:
		return []byte("{}")
	case opProbe, opGetIdentity, opCreateIdentity, opUpdateIdentity, opDeleteIdentity, opInvokeMethod:
	}
	return ex.body
}

// maxRetryAfter bounds how long an answer can make us wait. IoT Hub throttles by the second and by the minute, and sends no
// Retry-After; something on the way that asks for a day must not stop a hub for one.
const maxRetryAfter = time.Minute

// parseRetryAfter reads a Retry-After header, seconds or a date; what cannot be read counts as absent.
func parseRetryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		wait = date.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}

package hub

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
)

// middleware wraps a RoundTripper with one rule.
type middleware func(next http.RoundTripper) http.RoundTripper

// roundTripper is a function as a http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newChain puts every rule that a request and its answer go through in front of the transport, the outermost first.
func newChain(transport http.RoundTripper, to target, cfg Config, with *standing, signIn *tokens) http.RoundTripper {
	rules := []middleware{
		capture(cfg.Clock),
		guard(to.host),
		traced(to.host),
		dispatched(with, cfg.Clock),
		bearer(signIn, cfg.Clock),
		fenced(cfg.Fence),
		cfg.Metrics.middleware(with.named(to.name), cfg.Clock),
		whole(callTimeout),
		paging,
		worded(cfg.UserAgent),
	}
	chain := transport
	for i := len(rules) - 1; i >= 0; i-- {
		chain = rules[i](chain)
	}
	return chain
}

// guard lets a request pass to the host of the session only, and only over https: whatever makes a request, the
// credential it carries stays with that host.
func guard(host string) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Scheme != "https" || req.URL.Host != host || req.URL.User != nil || req.Host != "" && req.Host != host {
				return nil, &Error{Reason: ReasonHostNotAllowed, Host: host, detail: "the request was for another address than that of the hub"}
			}
			return next.RoundTrip(req)
		})
	}
}

// fenced lets no change of the hub pass once it may not be made any more. It comes after every wait: the process may
// have been paused, or have waited for its rate, since the change was decided.
func fenced(fence func() error) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		if fence == nil {
			return next
		}
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if exchangeOf(req).op.writes() {
				if err := fence(); err != nil {
					return nil, &Error{Reason: ReasonNotLeading, err: err}
				}
			}
			return next.RoundTrip(req)
		})
	}
}

const (
	continuationHeader = "x-ms-continuation"
	pageSizeHeader     = "x-ms-max-item-count"
)

// paging asks for pages of as many rows as the exchange says, from where it says, and refuses an answer that leads back to the page it continues.
func paging(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if exchangeOf(req).op != opQuery {
			return next.RoundTrip(req)
		}
		req = req.Clone(req.Context())
		req.Header.Set(pageSizeHeader, exchangeOf(req).pageSize())
		if from := exchangeOf(req).from; from != "" {
			req.Header.Set(continuationHeader, from)
		}
		res, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		asked := req.Header.Get(continuationHeader)
		if asked != "" && asked == res.Header.Get(continuationHeader) {
			return nil, &Error{Reason: ReasonUnexpectedAnswer, detail: "a page of the query's answer continues with itself", Status: res.StatusCode}
		}
		return res, nil
	})
}

// apiVersion is the version of the service API that Microsoft's own SDKs ask for, in place of the library's older one.
const apiVersion = "2021-04-12"

// worded is the request as the service API takes it, in place of what the library makes of it.
func worded(agent string) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			ex := exchangeOf(req)
			req = req.Clone(req.Context())
			address(req.URL, ex)
			if ex.request != nil {
				spell(req, ex.request)
			}
			req.Header.Set("User-Agent", agent)
			return next.RoundTrip(req)
		})
	}
}

// address encodes the ids in the path so that no character of it can be read as anything else: the library
// leaves a few bare, such as "+", that some servers decode.
func address(to *url.URL, ex *exchange) {
	if ex.id.Device != "" {
		to.Path, to.RawPath = ex.id.path(ex.op)
	}
	query := to.Query()
	query.Set("api-version", apiVersion)
	to.RawQuery = query.Encode()
}

// spell sends another body: the library knows no payloads of methods but objects.
func spell(req *http.Request, body []byte) {
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
}

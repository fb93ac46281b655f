package hub

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// maxTwinBytes bounds the answer to a twin read or change. The largest twin IoT Hub can hold, three sections of 72
	// KiB together and their metadata, stays well below.
	maxTwinBytes = 1 << 20
	// maxPageBytes bounds one page of a query's answer; what does not fit is asked for in smaller pages.
	maxPageBytes = 8 << 20
)

// errTooLong is the cause of the error of an answer that is longer than its bound.
var errTooLong = errors.New("too long")

// wholeBody is an answer's body that has been read to its end.
type wholeBody struct {
	*bytes.Reader
	bytes []byte
}

func (*wholeBody) Close() error { return nil }

// whole reads every answer to its end, within a bound in bytes and one in time, before anybody sees it: an answer is
// whole or it is an error.
func whole(timeout time.Duration) middleware {
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(req.Context(), cmp.Or(exchangeOf(req).patience, timeout))
			defer cancel()
			res, err := next.RoundTrip(req.WithContext(ctx))
			if err != nil {
				return nil, err
			}
			limit := int64(maxTwinBytes)
			if exchangeOf(req).op == opQuery {
				limit = maxPageBytes
			}
			body, err := readBody(res.Body, res.ContentLength, limit)
			if err != nil {
				return nil, err
			}
			res.Body = &wholeBody{Reader: bytes.NewReader(body), bytes: body}
			return res, nil
		})
	}
}

// readBody reads and closes a body of at most limit bytes. It is said to have length, which is negative where nothing is said.
func readBody(body io.ReadCloser, length, limit int64) (_ []byte, err error) {
	var read bytes.Buffer
	read.Grow(int(min(max(0, length), limit)) + bytes.MinRead)
	_, err = read.ReadFrom(io.LimitReader(body, limit+1))
	content := read.Bytes()
	if closeErr := body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, &Error{
			Reason: ReasonUnexpectedAnswer, detail: fmt.Sprintf("the answer is longer than %d bytes", limit), err: errTooLong,
		}
	}
	return content, nil
}

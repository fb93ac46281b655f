package directmethod

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// Error is a refusal that only direct methods word as they do.
type Error struct {
	Refusal *store.Error
	// Waited is how long the hub waited for the device; negative when that is
	// not part of the story.
	Waited time.Duration
}

// Error implements error.
func (e *Error) Error() string { return e.Refusal.Error() }

// Unwrap makes the status and code those of the refusal.
func (e *Error) Unwrap() error { return e.Refusal }

// Caller calls methods of one hub's devices.
type Caller struct {
	Store *store.Store
	Clock clock.Clock
}

// Call waits for the device and for its result. A refusal is an *Error; when
// ctx ends first, the error is its cause.
func (c Caller) Call(ctx context.Context, id store.ID, request Request) (store.MethodResult, error) {
	method, err := c.reach(ctx, id, request.Connect)
	if err != nil {
		return store.MethodResult{}, err
	}
	bounded, cancel := Within(ctx, c.Clock, request.Response)
	defer cancel()
	result, err := method(bounded, request.Name, request.Payload)
	switch {
	case errors.Is(err, store.ErrDeviceGone):
		return result, notOnline("Device unavailable", -1)
	case errors.Is(err, ErrTimeout) && ctx.Err() == nil:
		return result, &Error{&store.Error{
			Status: http.StatusGatewayTimeout, Number: 504101, Code: "GatewayTimeout",
			Text: "Timed out waiting for the response from device.",
		}, request.Response}
	case err != nil:
		return result, err
	case len(result.Payload) == 0:
		result.Payload = json.RawMessage("null")
	case !json.Valid(result.Payload):
		return result, errors.New("the device's result is not JSON")
	}
	return result, nil
}

// reach waits until the device can be called.
func (c Caller) reach(ctx context.Context, id store.ID, patience time.Duration) (store.MethodFunc, error) {
	bounded, cancel := Within(ctx, c.Clock, patience)
	defer cancel()
	method, err := c.Store.Methods(bounded, id)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &Error{&store.Error{Status: http.StatusNotFound, Number: 404001, Code: "DeviceNotFound", Text: "NotFound"}, -1}
	case method == nil:
		return nil, notOnline("Timed out waiting for device to connect.", patience)
	}
	return method, nil
}

func notOnline(text string, waited time.Duration) error {
	return &Error{&store.Error{Status: http.StatusNotFound, Number: 404103, Code: "DeviceNotOnline", Text: text}, waited}
}

// ErrTimeout is the cause of a context's end by Within.
var ErrTimeout = errors.New("the time is over")

// Within ends a context with ErrTimeout when the time is over by a clock, which
// need not be the real one. The function that it returns has to be called.
func Within(ctx context.Context, clk clock.Clock, d time.Duration) (context.Context, context.CancelFunc) {
	bounded, cancel := context.WithCancelCause(ctx)
	if d <= 0 {
		cancel(ErrTimeout)
		return bounded, func() {}
	}
	timer := clk.NewTimer(d)
	go func() {
		defer timer.Stop()
		select {
		case <-timer.C():
			cancel(ErrTimeout)
		case <-bounded.Done():
		}
	}()
	return bounded, func() { cancel(nil) }
}

package mqttfront

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// maxMethodPayload is what IoT Hub takes, in either direction.
const maxMethodPayload = 128 << 10

var (
	errResultTooLarge = errors.New("the client answered a direct method with more than 128 KB")
	errBadStatus      = errors.New("the client answered a direct method with a status that is not an integer")
)

// callMethod sends a direct method to the device and waits for its result.
func (c *conn) callMethod(ctx context.Context, name string, payload []byte) (store.MethodResult, error) {
	verdict, err := c.server.cfg.Faults.Apply(ctx, opMethod, c.id.Device)
	if err != nil {
		return store.MethodResult{}, err
	}
	if verdict.Action == fault.Status { // the call is lost on its way
		c.server.cfg.Counters.Add(opMethod, verdict.Status)
		<-ctx.Done()
		return store.MethodResult{}, context.Cause(ctx)
	}
	if cutsBefore(verdict) {
		c.server.cfg.Counters.Add(opMethod, unanswered)
		c.stop(errFault)
		return store.MethodResult{}, store.ErrDeviceGone
	}
	requestID, result := c.expectResult()
	defer c.forgetResult(requestID)
	m := &message{topic: "$iothub/methods/POST/" + name + "/?$rid=" + requestID, payload: payload}
	m.sending = func() { c.server.cfg.Counters.Add(opMethod, http.StatusOK) }
	if cutsAfter(verdict) {
		m.sent = func() { c.stop(errDropAnswer) }
	}
	select {
	case c.outgoing <- m:
	case <-c.ended:
		return store.MethodResult{}, store.ErrDeviceGone
	case <-ctx.Done():
		return store.MethodResult{}, context.Cause(ctx)
	}
	select {
	case r := <-result:
		return r, nil
	case <-c.ended:
		return store.MethodResult{}, store.ErrDeviceGone
	case <-ctx.Done():
		return store.MethodResult{}, context.Cause(ctx)
	}
}

func (c *conn) expectResult() (requestID string, result <-chan store.MethodResult) {
	arrived := make(chan store.MethodResult, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	requestID = strconv.FormatInt(c.calls, 16)
	c.methods[requestID] = arrived
	return requestID, arrived
}

func (c *conn) forgetResult(requestID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.methods, requestID)
}

// methodResult takes what the device says to a call. Results that come too
// late, or that were not asked for, are dropped.
func (c *conn) methodResult(t topic, payload []byte) error {
	status, err := strconv.Atoi(t.status)
	if err != nil {
		return errBadStatus
	}
	if len(payload) > maxMethodPayload {
		return errResultTooLarge
	}
	c.session.Active()
	c.mu.Lock()
	waiting := c.methods[t.requestID]
	delete(c.methods, t.requestID)
	c.mu.Unlock()
	if waiting != nil {
		waiting <- store.MethodResult{Status: status, Payload: json.RawMessage(payload)}
	}
	return nil
}

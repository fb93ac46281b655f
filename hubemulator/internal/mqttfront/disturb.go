package mqttfront

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

var errFault = errors.New("cut by a fault rule")

// unanswered stands for the status of a call without an answer.
const unanswered = 0

// cutsBefore tells the faults that end the connection before anything is
// applied. Over MQTT, losing the device's connection is losing the request's.
func cutsBefore(verdict fault.Verdict) bool {
	return verdict.Action == fault.Reset || verdict.Action == fault.MQTTDrop
}

// cutsAfter tells the faults that end the connection after the request was
// applied. What is acknowledged rather than answered has no middle to be cut in.
func cutsAfter(verdict fault.Verdict) bool {
	return verdict.Action == fault.DropAnswer || verdict.Action == fault.Truncated
}

// limit applies the hub's throttles and its daily quota to what a device
// sends. It waits while the device has to queue. A refusal is a *store.Error;
// any other error is that of the connection, which ended.
func (c *conn) limit(ctx context.Context, operationType throttle.Type) error {
	if err := c.server.cfg.Limits.Admit(ctx, operationType, 1); err != nil {
		return err
	}
	return c.server.cfg.Limits.CheckQuota()
}

// bill takes what a payload costs from the hub's daily quota.
func (c *conn) bill(operation string, payload []byte) {
	c.server.cfg.Counters.Bill(operation, c.server.cfg.Limits.Bill(len(payload)))
}

// answerTo works on a twin request. It returns an error when the connection
// ended first.
func (c *conn) answerTo(ctx context.Context, r request, verdict fault.Verdict) (answer, error) {
	if verdict.Action == fault.Status {
		return c.failure(&store.Error{
			Status: verdict.Status,
			Number: verdict.Status * 1000, // the hub's generic code of that status
			Code:   verdict.ErrorCode,
			Text:   cmp.Or(verdict.ErrorCode, http.StatusText(verdict.Status)),
		}), nil
	}
	operationType := throttle.TwinUpdate
	if r.topic.kind == topicTwinGet {
		operationType = throttle.TwinRead
	}
	if err := c.limit(ctx, operationType); err != nil {
		if _, refused := errors.AsType[*store.Error](err); refused {
			return c.failure(err), nil
		}
		return answer{}, err
	}
	r.stale = verdict.Action == fault.StaleRead
	reply := c.apply(r)
	switch {
	case reply.status == http.StatusOK:
		c.bill(r.operation(), reply.body)
	case reply.status == http.StatusNoContent, c.server.cfg.Choices.BillRejected:
		c.bill(r.operation(), r.payload)
	}
	return reply, nil
}

// publishHalf sends the first half of a packet and ends the connection.
func (c *conn) publishHalf(pk packets.Packet) error {
	var whole bytes.Buffer
	if err := pk.PublishEncode(&whole); err != nil {
		return err
	}
	c.client.Lock() // the library's, for writing
	defer c.client.Unlock()
	_, err := c.Write(whole.Bytes()[:whole.Len()/2])
	return errors.Join(errFault, err)
}

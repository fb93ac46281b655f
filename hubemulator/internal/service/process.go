package service

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// process takes an admitted call through faults and limits, and answers it. It
// returns false when the connection has to be cut instead.
func (h *handler) process(w http.ResponseWriter, r *http.Request, c call) bool {
	verdict, err := h.Faults.Apply(r.Context(), c.route.operation, c.id.Device)
	if err != nil {
		return h.abandon(c)
	}
	switch verdict.Action {
	case fault.Status:
		return h.finish(w, c, answer{}, verdict.Refusal(c.route.throttle))
	case fault.Reset:
		h.abandon(c)
		return reset(w)
	case fault.MQTTDrop:
		h.Store.CutConnections(c.id.Device)
	default: // the others were applied by waiting, or are of the answer
	}
	if err := h.limit(r.Context(), c); err != nil {
		if _, refused := errors.AsType[*store.Error](err); !refused {
			return h.abandon(c)
		}
		return h.finish(w, c, answer{}, err)
	}
	c.stale, c.frozen = verdict.Action == fault.StaleRead, verdict.Index
	result, err := c.route.run(h, c)
	if err != nil && r.Context().Err() != nil {
		return h.abandon(c)
	}
	if err == nil {
		result.text, err = appendBody(h.texts.take(), result.body)
		defer func() { h.texts.giveBack(result.text) }()
	}
	if err == nil {
		h.bill(c, c.payloads(result))
	} else if h.Choices.BillRejected && asRefusal(err).Status < http.StatusInternalServerError {
		h.bill(c, c.rejectedPayload())
	}
	switch verdict.Action {
	case fault.DropAnswer:
		c.counted.End(statusOf(result, err))
		return false
	case fault.Truncated:
		h.finish(&truncatingWriter{ResponseWriter: w}, c, result, err)
		return false
	default:
		return h.finish(w, c, result, err)
	}
}

// limit applies the hub's throttles and its daily quota.
func (h *handler) limit(ctx context.Context, c call) error {
	if err := h.Limits.Admit(ctx, c.route.throttle, h.shares(c)); err != nil {
		return err
	}
	if len(c.payloads(answer{})) == 0 || c.route.operation == Query {
		return nil // it costs no messages, or depends on the query
	}
	return h.Limits.CheckQuota()
}

// shares is how many shares of its throttle a call takes: a bulk operation as
// many as it has entries, a direct method one for each 4 KB.
func (h *handler) shares(c call) int {
	switch {
	case c.route.operation == Query && h.Choices.ThrottleFirstPages && c.header.Get("x-ms-continuation") != "":
		return 0
	case c.route.operation == BulkDevices:
		var entries []json.RawMessage
		if err := json.Unmarshal(c.body, &entries); err != nil {
			return 1 // and is refused later
		}
		return max(1, len(entries))
	case c.route.throttle == throttle.DirectMethod:
		return throttle.MethodShares(len(c.body))
	}
	return 1
}

// payloads are the sizes of what the hub bills a call for: reads and queries
// by what they return, writes by what they bring, direct methods by both, and
// anything else not at all.
func (c call) payloads(result answer) []int {
	switch c.route.throttle {
	case throttle.TwinRead:
		return []int{len(result.text)}
	case throttle.TwinUpdate:
		return []int{len(c.body)}
	case throttle.QueryTwins:
		if result.header["x-ms-item-type"] == itemDeviceJob {
			return nil
		}
		return []int{len(result.text)}
	case throttle.DirectMethod:
		return []int{len(c.body), len(result.text)}
	case throttle.DeviceSend:
		return []int{len(c.body)}
	case throttle.CommandReceive:
		if result.status == http.StatusOK {
			return []int{len(result.text)}
		}
		return nil
	default:
		return nil
	}
}

// rejectedPayload is what is billed of a refused call by those who bill it:
// what it brought, since it returned nothing.
func (c call) rejectedPayload() []int {
	sizes := c.payloads(answer{})
	return sizes[:min(1, len(sizes))]
}

func (h *handler) bill(c call, sizes []int) {
	if len(sizes) > 0 {
		h.Counters.Bill(c.route.operation, h.Limits.Bill(sizes...))
	}
}

// reset ends a connection with TCP's reset rather than its orderly close.
func reset(w http.ResponseWriter) bool {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false // the server then closes it
	}
	if wrapped, isWrapped := connection.(interface{ NetConn() net.Conn }); isWrapped {
		connection = wrapped.NetConn()
	}
	if tcp, isTCP := connection.(*net.TCPConn); isTCP {
		_ = tcp.SetLinger(0) // fails only when closed
	}
	_ = connection.Close() // it is broken on purpose
	return true
}

// truncatingWriter announces a whole answer and sends the first half.
type truncatingWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader keeps the status until the length of the answer is known.
func (t *truncatingWriter) WriteHeader(status int) { t.status = status }

// Write sends half of the answer, which has to come in one piece.
func (t *truncatingWriter) Write(text []byte) (int, error) {
	if len(text) == 0 {
		return 0, nil // there is no middle to cut it in
	}
	t.Header().Set("Content-Length", strconv.Itoa(len(text)))
	t.ResponseWriter.WriteHeader(t.status)
	if _, err := t.ResponseWriter.Write(text[:len(text)/2]); err != nil {
		return 0, err
	}
	return len(text), http.NewResponseController(t.ResponseWriter).Flush()
}

package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// process takes an admitted call through faults and limits, and answers it. It
// returns false when the connection has to be cut instead.
func (h *handler) process(w http.ResponseWriter, r *http.Request, c call) bool {
	verdict, err := h.Faults.Apply(r.Context(), c.route.name, c.id.Device)
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
	shares := 1
	if c.route.shares != nil {
		shares = c.route.shares(h, c)
	}
	if err := h.Limits.Admit(ctx, c.route.throttle, shares); err != nil {
		return err
	}
	if !c.route.billing.needsQuota() {
		return nil
	}
	return h.Limits.CheckQuota()
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

package mqttfront

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// Operations as they are counted, and named in fault rules.
const (
	opConnect             = "mqttConnect"
	opTwinGet             = "mqttTwinGet"
	opReportedPatch       = "mqttReportedPatch"
	opDesiredNotification = "mqttDesiredNotification"
	opTelemetry           = "mqttTelemetry"
	opMethod              = "mqttMethod"
	opCommand             = "mqttCommand"
)

// Operations returns what devices do by MQTT.
func Operations() []fault.Operation {
	return []fault.Operation{
		{Name: opConnect, OverMQTT: true},
		{Name: opTwinGet, OverMQTT: true, ReadsTwin: true},
		{Name: opReportedPatch, OverMQTT: true},
		{Name: opDesiredNotification, OverMQTT: true},
		{Name: opTelemetry, OverMQTT: true},
		{Name: opMethod, OverMQTT: true},
		{Name: opCommand, OverMQTT: true},
	}
}

var errDropAnswer = errors.New("cut by a fault rule before the answer")

// request is a twin request of a device, or its telemetry.
type request struct {
	topic   topic
	payload []byte
	// packetID is that of telemetry sent with QoS 1, which is acknowledged
	// when it has been taken; 0 for all else.
	packetID uint16
	stale    bool // whether a read is to miss the last write
}

func (r request) operation() string {
	switch r.topic.kind {
	case topicTwinGet:
		return opTwinGet
	case topicTelemetry:
		return opTelemetry
	default:
		return opReportedPatch
	}
}

// answer is what the hub says to a request.
type answer struct {
	status  int
	version int64 // new $version of the reported section, 0 for none
	body    []byte
	// truncated says that only the first half is to be sent.
	truncated bool
}

// requestLoop works on the requests of one connection, one after the other,
// while packets go on being read: a held request must notice that its client
// went away.
func (c *conn) requestLoop(ctx context.Context) {
	for {
		select {
		case r := <-c.requests:
			c.handle(ctx, *r)
		case <-ctx.Done():
			return
		}
	}
}

func (c *conn) handle(ctx context.Context, r request) {
	counted := c.server.cfg.Counters.Begin(r.operation())
	verdict, err := c.server.cfg.Faults.Apply(ctx, r.operation(), c.id.Device)
	if err == nil && cutsBefore(verdict) {
		err = errFault
		c.stop(err)
	}
	if err != nil {
		counted.End(unanswered) // the connection ended; the request was not applied
		return
	}
	if r.topic.kind == topicTelemetry {
		c.takeTelemetry(ctx, r, verdict, counted)
		return
	}
	reply, err := c.answerTo(ctx, r, verdict)
	if err != nil {
		counted.End(unanswered)
		return
	}
	if verdict.Action == fault.DropAnswer {
		counted.End(unanswered)
		c.stop(errDropAnswer)
		return
	}
	counted.End(reply.status)
	reply.truncated = verdict.Action == fault.Truncated
	c.sendAnswer(r.topic.requestID, reply)
}

func (c *conn) apply(r request) answer {
	if r.topic.kind == topicTwinGet {
		return c.twinGet(r)
	}
	return c.reportedPatch(r)
}

func (c *conn) twinGet(r request) answer {
	// Some of the hub's own client libraries send one space for nothing.
	if strings.TrimSpace(string(r.payload)) != "" {
		return c.failure(badRequest("The twin GET request must have an empty payload"))
	}
	read := c.session.Twin
	if r.stale {
		read = c.session.TwinBefore
	}
	document, err := read()
	if err != nil {
		return c.failure(err)
	}
	return answer{status: http.StatusOK, body: document}
}

func (c *conn) reportedPatch(r request) answer {
	if c.apiVersion == "" {
		return c.failure(badRequest("The device connected without an api-version in its user name, which reported properties need"))
	}
	var precondition *int64
	if r.topic.hasVersion {
		version, err := strconv.ParseInt(r.topic.version, 10, 64)
		if err != nil {
			return c.failure(badRequest("The $version in the topic is not an integer"))
		}
		precondition = &version
	}
	version, err := c.session.PatchReported(r.payload, precondition)
	if err != nil {
		return c.failure(err)
	}
	return answer{status: http.StatusNoContent, version: version}
}

func badRequest(text string) *store.Error {
	return &store.Error{Status: http.StatusBadRequest, Number: 400004, Code: "ArgumentInvalid", Text: text}
}

// failure words an error as the hub does over MQTT.
func (c *conn) failure(err error) answer {
	var refused *store.Error
	if !errors.As(err, &refused) {
		refused = &store.Error{Status: http.StatusInternalServerError, Number: 500001, Code: "ServerError", Text: err.Error()}
	}
	now := c.server.cfg.Clock.Now().UTC().Format(time.RFC3339)
	tracking := uuid.New()
	body, err := json.Marshal(map[string]any{
		"errorCode":    refused.Number,
		"message":      refused.Text,
		"trackingId":   fmt.Sprintf("%X-G2:-TimeStamp:%s", tracking[:], now),
		"timestampUtc": now,
	})
	if err != nil {
		c.server.cfg.Logger.Error("cannot write an error answer", "error", err)
	}
	return answer{status: refused.Status, body: body}
}

// sendAnswer waits for room in the queue, which holds up the device's further
// requests only.
func (c *conn) sendAnswer(requestID string, reply answer) {
	qos, subscribed := c.grantedQoS(filterTwinAnswers)
	if !subscribed {
		return // as on the hub: no client listens
	}
	topic := fmt.Sprintf("$iothub/twin/res/%d/?$rid=%s", reply.status, requestID)
	if reply.version != 0 {
		topic += "&$version=" + strconv.FormatInt(reply.version, 10)
	}
	select {
	case c.outgoing <- &message{topic: topic, payload: reply.body, qos: qos, truncated: reply.truncated}:
	case <-c.ended:
	}
}

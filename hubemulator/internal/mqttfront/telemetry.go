package mqttfront

import (
	"context"
	"errors"
	"net/http"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// maxTelemetry is the largest message that IoT Hub takes from a device.
const maxTelemetry = 256 << 10

var (
	errTelemetryTooLarge = errors.New("the client sent a message of more than 256 KB")
	errTelemetryRefused  = errors.New("telemetry was refused by a fault rule")
)

// takeTelemetry counts a message of the device and acknowledges it. MQTT 3.1.1
// knows no way to refuse one, other than to end the connection.
func (c *conn) takeTelemetry(ctx context.Context, r request, verdict fault.Verdict, counted count.Call) {
	if verdict.Action == fault.Status {
		counted.End(verdict.Status)
		c.stop(errTelemetryRefused)
		return
	}
	status, err := c.telemetry(ctx, r.payload)
	counted.End(status)
	if err != nil {
		c.stop(err)
		return
	}
	if cutsAfter(verdict) {
		c.stop(errDropAnswer)
		return
	}
	if r.packetID == 0 {
		return
	}
	if err := c.client.WritePacket(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Puback},
		PacketID:    r.packetID,
	}); err != nil {
		c.stop(err)
	}
}

// telemetry is where messages of devices end: they are billed, and show that
// the device is alive. It returns the status to count, and why the connection
// has to end, if it has.
func (c *conn) telemetry(ctx context.Context, payload []byte) (status int, err error) {
	if len(payload) > maxTelemetry {
		return http.StatusRequestEntityTooLarge, errTelemetryTooLarge
	}
	if err := c.limit(ctx, throttle.DeviceSend); err != nil {
		if refusal, refused := errors.AsType[*store.Error](err); refused {
			return refusal.Status, err
		}
		return unanswered, err
	}
	c.session.Active()
	c.bill(opTelemetry, payload)
	return http.StatusOK, nil
}

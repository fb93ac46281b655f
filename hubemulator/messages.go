package hubemulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// DeviceMessage is a message from the cloud to a device. All but the body is
// optional.
type DeviceMessage struct {
	MessageID       string `json:"messageId,omitempty"`
	CorrelationID   string `json:"correlationId,omitempty"`
	UserID          string `json:"userId,omitempty"`
	ContentType     string `json:"contentType,omitempty"`
	ContentEncoding string `json:"contentEncoding,omitempty"`
	// Properties are the application's own.
	Properties map[string]string `json:"properties,omitempty"`
	// Body is at most 64 KB. Its JSON form is base64.
	Body []byte `json:"body"`
	// Expiry is when the hub gives up to deliver the message; the zero time
	// means an hour from now, by the hub's clock.
	Expiry time.Time `json:"expiry,omitzero"`
}

// SendToDevice queues a message for a device, which gets it over MQTT once it
// has subscribed, or at once if it has. IoT Hub takes such messages over AMQP
// only, which this hub does not speak. At most 50 messages wait for a device.
// On a hub of a tier the throttle of such messages may make the call wait for a
// few seconds of the hub's clock, or refuse it.
func (s *Server) SendToDevice(deviceID string, m DeviceMessage) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-s.stopping:
		case <-ctx.Done():
		}
	}()
	return s.send(ctx, deviceID, m)
}

// send is SendToDevice for those who may give up before the hub stops.
func (s *Server) send(ctx context.Context, deviceID string, m DeviceMessage) error {
	if err := s.limits.Admit(ctx, throttle.CommandSend, 1); err != nil {
		return err
	}
	return s.store.SendCommand(deviceID, store.Command{
		MessageID: m.MessageID, CorrelationID: m.CorrelationID, UserID: m.UserID,
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
		Properties: m.Properties, Body: m.Body, Expiry: m.Expiry,
	})
}

// sendDocument is SendToDevice for the admin API.
func (s *Server) sendDocument(ctx context.Context, deviceID string, document []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	var message DeviceMessage
	if err := decoder.Decode(&message); err != nil {
		return fmt.Errorf("the message cannot be read: %w", err)
	}
	return s.send(ctx, deviceID, message)
}

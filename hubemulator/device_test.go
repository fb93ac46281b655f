package hubemulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"
)

const patience = 10 * time.Second

// transports are the ways to the hub that a device has.
var transports = [...]string{"TCP", "WebSocket"}

// device is a client of the devices' side, named {device} or {device}/{module}.
type device struct {
	mqtt.Client
	t        *testing.T
	id       string
	messages chan mqtt.Message
	lost     chan error
}

// deviceOptions are those of a client that signs in with its own key.
func (h *hub) deviceOptions(t *testing.T, id, transport string) *mqtt.ClientOptions {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(h.server.CACertificatePEM()) {
		t.Fatal("the CA certificate is not PEM")
	}
	broker := "ssl://" + h.server.MQTTAddress()
	if transport == "WebSocket" {
		broker = "wss://" + h.server.HTTPSAddress() + "/$iothub/websocket"
	}
	return mqtt.NewClientOptions().AddBroker(broker).SetTLSConfig(&tls.Config{RootCAs: roots}).
		SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(patience).
		SetClientID(id).SetUsername(h.server.HostName() + "/" + id + "/?api-version=2021-04-12")
}

func (h *hub) deviceToken(t *testing.T, id string) string {
	t.Helper()
	device, module, isModule := strings.Cut(id, "/")
	resource := h.server.HostName() + "/devices/" + device
	connection := must(h.server.DeviceConnectionString(device))
	if isModule {
		resource += "/modules/" + module
		connection = must(h.server.ModuleConnectionString(device, module))
	}
	return sign(url.QueryEscape(resource), keyOf(t, connection), "", h.clock.Now().Add(time.Hour))
}

// newDevice prepares a client; change may alter its options.
func (h *hub) newDevice(t *testing.T, id, transport string, change func(*mqtt.ClientOptions)) *device {
	t.Helper()
	d := &device{t: t, id: id, messages: make(chan mqtt.Message, 100), lost: make(chan error, 1)}
	options := h.deviceOptions(t, id, transport).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { d.messages <- m }).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { d.lost <- err })
	if change != nil {
		change(options)
	}
	d.Client = mqtt.NewClient(options)
	t.Cleanup(func() { d.Disconnect(0) })
	return d
}

// connect signs a device in with its own key.
func (h *hub) connect(t *testing.T, id, transport string) *device {
	t.Helper()
	token := h.deviceToken(t, id)
	d := h.newDevice(t, id, transport, func(o *mqtt.ClientOptions) { o.SetPassword(token) })
	d.do(d.Connect())
	return d
}

func (d *device) do(token mqtt.Token) {
	d.t.Helper()
	if !token.WaitTimeout(patience) {
		d.t.Fatal("the hub does not answer")
	}
	if err := token.Error(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) subscribe(filter string) {
	d.t.Helper()
	token := d.Subscribe(filter, 1, nil).(*mqtt.SubscribeToken)
	d.do(token)
	NewWithT(d.t).Expect(token.Result()).To(HaveKeyWithValue(filter, byte(1)))
}

func (d *device) publish(topic, payload string) {
	d.t.Helper()
	d.do(d.Publish(topic, 1, false, payload))
}

func (d *device) receive() mqtt.Message {
	d.t.Helper()
	select {
	case m := <-d.messages:
		return m
	case err := <-d.lost:
		d.t.Fatalf("the connection ended: %v", err)
	case <-time.After(patience):
		d.t.Fatal("nothing arrives")
	}
	return nil
}

// serve answers direct methods with a status and what payload returns.
func (d *device) serve(status string, payload func(mqtt.Message) string) {
	d.t.Helper()
	filter := "$iothub/methods/POST/#"
	d.do(d.Subscribe(filter, 0, func(c mqtt.Client, m mqtt.Message) {
		_, requestID, _ := strings.Cut(m.Topic(), "/?$rid=")
		c.Publish("$iothub/methods/res/"+status+"/?$rid="+requestID, 1, false, payload(m))
	}))
}

func encode(t *testing.T, document any) string {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// decodeNumber is how decode returns a number.
func decodeNumber(n int) json.Number { return json.Number(strconv.Itoa(n)) }

package controllers_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"
)

// behaviour is what a device does about its desired properties, given them with their $version; it
// returns what it reports, nil for nothing.
type behaviour func(desired map[string]any, version float64) map[string]any

// accepts reports the values that are desired.
func accepts(desired map[string]any, _ float64) map[string]any { return desired }

// refuses answers by the conventions of IoT Plug and Play that it does not take them.
func refuses(desired map[string]any, version float64) map[string]any {
	said := map[string]any{}
	for key, value := range desired {
		said[key] = map[string]any{"value": value, "ac": 400, "av": version, "ad": "out of range"}
	}
	return said
}

// saysNothing is connected, and no more.
func saysNothing(map[string]any, float64) map[string]any { return nil }

// connectDevices connects devices by MQTT, until the test's end.
func (w *world) connectDevices(does behaviour, devices ...string) {
	w.Helper()
	for _, device := range devices {
		options := paho.NewClientOptions().AddBroker("ssl://" + w.hub.MQTTAddress()).SetClientID(device).
			SetUsername(w.hub.HostName() + "/" + device + "/?api-version=2021-04-12").SetPassword(w.deviceToken(device)).
			SetTLSConfig(w.hubTLS()).SetAutoReconnect(false)
		client := paho.NewClient(options)
		w.Expect(waitFor(client.Connect())).To(Succeed())
		w.Cleanup(func() { client.Disconnect(0) })
		w.Expect(waitFor(client.Subscribe("$iothub/twin/PATCH/properties/desired/#", 1, func(_ paho.Client, m paho.Message) {
			go w.answer(device, does, m.Payload()) // a handler must not wait
		}))).To(Succeed())
	}
}

// answer reports what a device makes of a change of its desired properties.
func (w *world) answer(device string, does behaviour, patch []byte) {
	var desired map[string]any
	if json.Unmarshal(patch, &desired) != nil {
		return
	}
	version, _ := desired["$version"].(float64)
	delete(desired, "$version")
	said := does(desired, version)
	if said == nil {
		return
	}
	if text, err := json.Marshal(said); err == nil {
		_, _ = w.hub.Report(device, text) // the hub may have gone with the test
	}
}

func waitFor(token paho.Token) error {
	if !token.WaitTimeout(patience) {
		return fmt.Errorf("no answer within %s", patience)
	}
	return token.Error()
}

func (w *world) hubTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.hub.CACertificatePEM())
	host, _, _ := strings.Cut(w.hub.HostName(), ":")
	return &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}
}

// deviceToken is a shared access signature of a device.
func (w *world) deviceToken(device string) string {
	w.Helper()
	text, err := w.hub.DeviceConnectionString(device)
	w.Expect(err).NotTo(HaveOccurred())
	_, encoded, _ := strings.Cut(text, "SharedAccessKey=")
	key, err := base64.StdEncoding.DecodeString(encoded)
	w.Expect(err).NotTo(HaveOccurred())
	resource := url.QueryEscape(w.hub.HostName() + "/devices/" + device)
	expiry := time.Now().Add(time.Hour).Unix()
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s\n%d", resource, expiry)
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d", resource, url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), expiry)
}

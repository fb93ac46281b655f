package devicesim

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/amenzhinsky/iothub/iotdevice"
)

// mqttPort is where IoT Hub serves MQTT over TLS.
const mqttPort = "8883"

// target is where the device connects to, and as whom.
type target struct {
	creds      *iotdevice.SharedAccessKeyCredentials
	address    string // host:port to dial
	serverName string // host the certificate must be valid for
	roots      *x509.CertPool
}

func newTarget(opts Options) (target, error) {
	creds, err := parseCredentials(opts.ConnectionString)
	if err != nil {
		return target{}, fmt.Errorf("connection string: %w", err)
	}
	host := creds.HostName
	if h, _, err := net.SplitHostPort(creds.HostName); err == nil {
		host = h
	}
	t := target{creds: creds, serverName: host, address: net.JoinHostPort(host, mqttPort)}
	if opts.MQTTAddress != "" {
		if _, port, err := net.SplitHostPort(opts.MQTTAddress); err != nil || port == "" {
			return target{}, fmt.Errorf("MQTT address %q: want host:port", opts.MQTTAddress)
		}
		t.address = opts.MQTTAddress
	}
	if len(opts.CA) > 0 {
		t.roots = x509.NewCertPool()
		if !t.roots.AppendCertsFromPEM(opts.CA) {
			return target{}, errors.New("CA: no PEM certificate found in it; give the hub's CA certificate, or nothing to use the system's roots")
		}
	}
	return t, nil
}

// parseCredentials keeps the text out of its errors: it holds the key.
func parseCredentials(text string) (*iotdevice.SharedAccessKeyCredentials, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("it is empty; want HostName=…;DeviceId=…;SharedAccessKey=…")
	}
	creds, err := iotdevice.ParseConnectionString(text)
	if err != nil {
		return nil, fmt.Errorf("%w; want HostName=…;DeviceId=…;SharedAccessKey=…", err)
	}
	if creds.HostName == "" {
		return nil, errors.New("HostName is required; want HostName=…;DeviceId=…;SharedAccessKey=…")
	}
	if strings.ContainsAny(creds.HostName, "/ ") {
		return nil, errors.New("HostName must be a host name, with :port when it is not 443")
	}
	if key, err := base64.StdEncoding.DecodeString(creds.SharedAccessKey.SharedAccessKey); err != nil || len(key) == 0 {
		return nil, errors.New("SharedAccessKey is not base64; copy it again from the hub's device registry")
	}
	return creds, nil
}

// tlsConfig adapts the library's configuration: its own pinned roots have
// mostly expired, and the dialled address need not be the certificate's name.
func (t target) tlsConfig(base *tls.Config) *tls.Config {
	cfg := base.Clone()
	cfg.RootCAs = t.roots
	cfg.ServerName = t.serverName
	cfg.MinVersion = tls.VersionTLS12
	return cfg
}

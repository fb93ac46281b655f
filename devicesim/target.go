package devicesim

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/amenzhinsky/iothub/common"
	"github.com/amenzhinsky/iothub/iotdevice"

	"github.com/devicetwin-io/devicetwin-operator/internal/connectionstring"
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
	host := connectionstring.Name(creds.HostName)
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

// wanted is the form of a device's connection string.
const wanted = "want HostName=…;DeviceId=…;SharedAccessKey=…"

// parseCredentials keeps the text out of its errors: it holds the key.
func parseCredentials(text string) (*iotdevice.SharedAccessKeyCredentials, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("it is empty; " + wanted)
	}
	parts, err := connectionstring.Split(text)
	if err != nil {
		return nil, err
	}
	if other := notADevice(parts); other != "" {
		return nil, errors.New(other)
	}
	host, err := connectionstring.ParseHostName(parts.Get(connectionstring.HostName))
	if err != nil {
		return nil, errors.New(connectionstring.HostName + " " + err.Error())
	}
	key := parts.Get(connectionstring.SharedAccessKey)
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) == 0 {
		return nil, errors.New("SharedAccessKey is not base64; copy it again from the hub's device registry")
	}
	return &iotdevice.SharedAccessKeyCredentials{
		DeviceID:        parts.Get(connectionstring.DeviceID),
		SharedAccessKey: common.SharedAccessKey{HostName: host, SharedAccessKey: key},
	}, nil
}

// notADevice says whose connection string it is, or what it lacks, when no device
// can sign in by key with it.
func notADevice(parts connectionstring.Parts) string {
	const useTheDevices = "; use the device's own, as az iot hub device-identity connection-string show prints it"
	switch {
	case parts.Has(connectionstring.ModuleID):
		return "it is a module's (ModuleId), and devicesim plays devices only" + useTheDevices
	case !parts.Has(connectionstring.DeviceID) && parts.Has(connectionstring.SharedAccessKeyName):
		return "it is a shared access policy's and lacks DeviceId" + useTheDevices
	case strings.EqualFold(parts.Get(connectionstring.X509), "true"):
		return "it is of a device that signs in with a certificate (x509), and devicesim has keys only; use a device that has keys"
	case parts.Has(connectionstring.SharedAccessSignature):
		return "it holds a shared access signature, which expires, in place of a key" + useTheDevices
	}
	if missing := parts.Missing(connectionstring.HostName, connectionstring.DeviceID, connectionstring.SharedAccessKey); len(missing) > 0 {
		return "it lacks " + strings.Join(missing, " and ") + "; " + wanted
	}
	return ""
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

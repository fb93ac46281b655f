package credential_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
)

func TestLooksLike(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for text, want := range map[string]bool{
		"": false, "Redmond43": false, "cellular": false, "2026-11-04T12:30:00Z": false, "a simple sentence of some length, no more": false,
		"7f1a3c52-6d0e-4b8f-9a21-5c3e8d4b6f70": false, "my-hub.azure-devices.net:8443": false, "https://example.com/a/path?x=1": false,
		"dtmi:com:example:Thermostat;1": false, "12345678901234567890123456789012345": false, "a-very-long-name-of-a-production-line-in-plant-43": false,

		"image@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08": false, "http://decoder/api/Wave?x=1&compass=2": false,
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 sha256:00": true,
		"ssid=plant psk=correcthorse": true, `{"ssid": "plant", "wifiKey": "correcthorse"}`: true, "PIN = 1234": true, `{"passenger": 1}`: false,

		"HostName=h.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=abc=": true,
		"SharedAccessSignature sr=h&se=1":                                               true, "https://h/x?sv=1&SIG=abc": true, "AccountName=a;AccountKey=b": true,
		"Server=db;Password=hunter2": true, "Bearer abc": true, "-----BEGIN PRIVATE KEY-----": true, "amqps://user:hunter2@host/x": true,
		"a2V5LW5vYm9keS1tYXktZXZlci1zZWUtMQ==":                             true,
		"the key is a2V5LW5vYm9keS1tYXktZXZlci1zZWUtMQ==, keep it":         true,
		"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08": true,
		"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2ln":        true,
	} {
		g.Expect(credential.LooksLike(text)).To(Equal(want), text)
		if want {
			g.Expect(credential.Masked(text)).To(Equal(credential.Hidden))
		} else {
			g.Expect(credential.Masked(text)).To(Equal(text))
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	for want, keys := range map[bool][]string{
		true: {
			"password", "wifiPassword", "API_KEY", "private-key", "connectionString", "SAS Token", "clientSecret", "sasToken",
			"pwd", "PWD", "wifiPwd", "wifi_pwd", "wifipwd", "psk", "PSK", "wpaPsk", "wpa2Psk", "WPA2_PSK", "WiFiPSK", "wpapsk", "preSharedKey",
			"pin", "PIN", "simPin", "sim-pin", "pin2", "userPIN", "simpin", "pinCode", "pincode", "pass", "PASS", "wifiPass", "wifi.pass", "mqttpass",
			"passcode", "passCode", "passPhrase", "pass_phrase", "passkey", "passKey", "otp", "creds", "userCreds", "jwt",
			"wpaKey", "wpa2Key", "wifiKey", "WifiKey", "wifikey", "wepkey", "networkKey", "meshNetworkKey", "AppKey", "AppSKey", "NwkSKey", "appskey",
			"nwkskey", "app_s_key", "FNwkSIntKey", "SNwkSIntKey", "NwkSEncKey", "GenAppKey", "McAppSKey", "sessionKey", "SessionKeys", "encryption_keys",
			"deviceKey", "APIKey", "sshKey", "linkKey",
		},
		false: {
			"", "plant", "key", "keys", "keyboard", "interval", "passenger", "passengerCount", "passengers", "passCount", "passRate", "passThrough",
			"passive", "compass", "compassHeading", "bypass", "byPass", "lowPass", "high_pass", "bandPass", "trespass", "pinned", "pinnedVersion",
			"pinCount", "pinMode", "pins", "gpioPin", "ledPin", "spin", "spindle", "spinRate", "pinion", "hairpin", "opinion", "shipping",
			"upskill", "monkey", "turkey", "keyId", "keyVault", "publicKey", "partitionKey", "routing-key", "hotKey", "GatewayID", "ClassType", "DevEUI",
			"SensorDecoder", "type", "ssid", "tokyo", "authentication", "shopkeeper", "Map", "wire", "x",
		},
	} {
		for _, key := range keys {
			t.Run(key, func(t *testing.T) {
				t.Parallel()
				NewWithT(t).Expect(credential.Named(key)).To(Equal(want))
			})
		}
	}
}

func TestRedacted(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const key = "a2V5LW5vYm9keS1tYXktZXZlci1zZWUtMQ=="
	reported := map[string]any{
		"wifi":     map[string]any{"ssid": "plant", "pwd": "hunter2", "channel": 6.0},
		"pin":      1234.0,
		"selfTest": map[string]any{"pass": true},
		"sessions": []any{"cellular", key, map[string]any{"AppSKey": []any{1.0, 2.0}, "pass": nil}},
	}
	redacted, hidden := credential.Redacted(reported)
	g.Expect(redacted).To(Equal(map[string]any{
		"wifi":     map[string]any{"ssid": "plant", "pwd": credential.Hidden, "channel": 6.0},
		"pin":      credential.Hidden,
		"selfTest": map[string]any{"pass": true},
		"sessions": []any{"cellular", credential.Hidden, map[string]any{"AppSKey": []any{credential.Hidden, credential.Hidden}, "pass": nil}},
	}))
	g.Expect(hidden).To(Equal(5))
	g.Expect(reported["pin"]).To(Equal(1234.0), "what is given is not changed")
	g.Expect(credential.Held(reported)).To(BeTrue())
	g.Expect(credential.Held(map[string]any{"selfTest": map[string]any{"pass": true}})).To(BeFalse())
	g.Expect(credential.HeldAt([]string{"wifi", "psk"}, "x")).To(BeTrue())
	g.Expect(credential.HeldAt([]string{"selfTest", "pass"}, true)).To(BeFalse())
	g.Expect(credential.HeldAt([]string{"passenger"}, "x")).To(BeFalse())
}

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
	g := NewWithT(t)
	for key, want := range map[string]bool{
		"plant": false, "key": false, "keyboard": false, "pass": false, "interval": false, "": false,
		"password": true, "wifiPassword": true, "API_KEY": true, "private-key": true, "connectionString": true, "SAS Token": true, "clientSecret": true,
	} {
		g.Expect(credential.Named(key)).To(Equal(want), key)
	}
}

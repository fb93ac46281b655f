package sas_test

import (
	"strings"
	"testing"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

const key = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="

// The signatures were computed with openssl:
// printf 'localhost%3A8443\n1700000000' | openssl dgst -sha256 -hmac secret-secret-secret -binary | base64
func TestToken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"policy": {
			"HostName=localhost:8443;SharedAccessKeyName=service;SharedAccessKey=" + key,
			"SharedAccessSignature sr=localhost%3A8443&sig=BshqQeR6pEGRAqv9L%2FjkXun5XUZ5MT5gHF9etxPqA84%3D&se=1700000000&skn=service",
		},
		"policy, with blanks": {
			" HostName = localhost:8443 ;SharedAccessKeyName=service; SharedAccessKey = " + key + " \n",
			"SharedAccessSignature sr=localhost%3A8443&sig=BshqQeR6pEGRAqv9L%2FjkXun5XUZ5MT5gHF9etxPqA84%3D&se=1700000000&skn=service",
		},
		"device": {
			"HostName=localhost:8443;DeviceId=d1;SharedAccessKey=" + key,
			"SharedAccessSignature sr=localhost%3A8443%2Fdevices%2Fd1&sig=KAP8MESGyreJfHV8Mak%2B5kpNjmwwQ%2B%2F%2BL0VxF0ryxC0%3D&se=1700000000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			credentials, err := sas.Parse(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if got := credentials.Token(time.Unix(1700000000, 0)); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestRefusedConnectionStrings(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, complaint string }{
		"no host":  {"SharedAccessKeyName=service;SharedAccessKey=" + key, "HostName"},
		"no owner": {"HostName=localhost;SharedAccessKey=" + key, "SharedAccessKeyName"},
		"both":     {"HostName=localhost;SharedAccessKeyName=service;DeviceId=d1;SharedAccessKey=" + key, "one of"},
		"no key":   {"HostName=localhost;SharedAccessKeyName=service", "SharedAccessKey"},
		"bad key":  {"HostName=localhost;SharedAccessKeyName=service;SharedAccessKey=?" + key, "base64"},
		"empty":    {"", "HostName"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sas.Parse(test.text)
			if err == nil || !strings.Contains(err.Error(), test.complaint) {
				t.Fatalf("got %v, want a complaint about %s", err, test.complaint)
			}
			if strings.Contains(err.Error(), key) {
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
}

package main

import (
	"strings"
	"testing"
	"time"
)

func TestToken(t *testing.T) {
	t.Parallel()
	c, err := parseConnectionString("HostName=localhost:8443;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0LXNlY3JldC1zZWNyZXQ=")
	if err != nil {
		t.Fatal(err)
	}
	got := c.token(time.Unix(1700000000, 0))
	// The signature was computed with openssl:
	// printf 'localhost%3A8443\n1700000000' | openssl dgst -sha256 -hmac secret-secret-secret -binary | base64
	want := "SharedAccessSignature sr=localhost%3A8443&sig=BshqQeR6pEGRAqv9L%2FjkXun5XUZ5MT5gHF9etxPqA84%3D&se=1700000000&skn=service"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestParseConnectionString(t *testing.T) {
	t.Parallel()
	const key = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	for name, test := range map[string]struct{ text, complaint string }{
		"no host":   {"SharedAccessKeyName=service;SharedAccessKey=" + key, "HostName"},
		"no policy": {"HostName=localhost;SharedAccessKey=" + key, "SharedAccessKeyName"},
		"no key":    {"HostName=localhost;SharedAccessKeyName=service", "SharedAccessKey"},
		"bad key":   {"HostName=localhost;SharedAccessKeyName=service;SharedAccessKey=?" + key, "base64"},
		"empty":     {"", "HostName"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseConnectionString(test.text)
			if err == nil || !strings.Contains(err.Error(), test.complaint) {
				t.Fatalf("got %v, want a complaint about %s", err, test.complaint)
			}
			if strings.Contains(err.Error(), key) {
				t.Errorf("the key is in the error: %v", err)
			}
		})
	}
}

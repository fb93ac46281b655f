package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// credentials are a service connection string, taken apart.
type credentials struct {
	host, policy string
	key          []byte
}

// parseConnectionString never puts any part of the key into an error.
func parseConnectionString(text string) (credentials, error) {
	values := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		// Keys are base64 and may end in '=': cut at the first only.
		if name, value, found := strings.Cut(part, "="); found {
			values[name] = value
		}
	}
	for _, name := range []string{"HostName", "SharedAccessKeyName", "SharedAccessKey"} {
		if values[name] == "" {
			return credentials{}, fmt.Errorf("the connection string has no %s", name)
		}
	}
	key, err := base64.StdEncoding.DecodeString(values["SharedAccessKey"])
	if err != nil {
		return credentials{}, errors.New("the connection string's SharedAccessKey is not base64")
	}
	return credentials{host: values["HostName"], policy: values["SharedAccessKeyName"], key: key}, nil
}

// token signs for the whole hub until the expiry: the HMAC-SHA256, by the
// policy's key, of the escaped host name and the expiry in Unix seconds, one
// line each.
func (c credentials) token(expiry time.Time) string {
	resource := url.QueryEscape(c.host)
	until := strconv.FormatInt(expiry.Unix(), 10)
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(resource + "\n" + until))
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%s&skn=%s",
		resource, url.QueryEscape(signature), until, url.QueryEscape(c.policy))
}

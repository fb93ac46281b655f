// Package sas signs in to an IoT Hub with a connection string. It is written
// from the service's documents and shares nothing with what the programs that
// use it look at.
package sas

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

// Credentials are a connection string, taken apart: a policy's or a device's.
type Credentials struct {
	// Host is the hub's name, with a port unless that is the usual one.
	Host string
	// Policy or Device is who the key belongs to; the other is empty.
	Policy, Device string

	key []byte
}

// Parse reads a connection string. It never puts any part of the key into an
// error.
func Parse(connectionString string) (Credentials, error) {
	values := map[string]string{}
	for part := range strings.SplitSeq(connectionString, ";") {
		// Keys are base64 and may end in '=': cut at the first only.
		if name, value, found := strings.Cut(part, "="); found {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	for _, name := range []string{"HostName", "SharedAccessKey"} {
		if values[name] == "" {
			return Credentials{}, fmt.Errorf("the connection string has no %s", name)
		}
	}
	c := Credentials{Host: values["HostName"], Policy: values["SharedAccessKeyName"], Device: values["DeviceId"]}
	if (c.Policy == "") == (c.Device == "") {
		return Credentials{}, errors.New("the connection string should have one of SharedAccessKeyName and DeviceId")
	}
	var err error
	if c.key, err = base64.StdEncoding.DecodeString(values["SharedAccessKey"]); err != nil {
		return Credentials{}, errors.New("the connection string's SharedAccessKey is not base64")
	}
	return c, nil
}

// Token signs for all that the key is good for, the whole hub or the device,
// until the expiry: the HMAC-SHA256, by the key, of the escaped resource and
// the expiry in Unix seconds, one line each.
func (c Credentials) Token(expiry time.Time) string {
	resource := c.Host
	if c.Device != "" {
		resource += "/devices/" + c.Device
	}
	resource = url.QueryEscape(resource)
	until := strconv.FormatInt(expiry.Unix(), 10)
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(resource + "\n" + until))
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	token := "SharedAccessSignature sr=" + resource + "&sig=" + url.QueryEscape(signature) + "&se=" + until
	if c.Policy != "" {
		token += "&skn=" + url.QueryEscape(c.Policy)
	}
	return token
}

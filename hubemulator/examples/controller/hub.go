// Package controller is an example: a small controller that writes to device
// twins, with a test that runs it against a real API server and a local hub.
// Read controller_test.go first. Nothing here needs more of this project than
// the package hubemulator.
package controller

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Hub is a client of IoT Hub's service API, in plain HTTPS: it stands for
// whatever your controller uses.
type Hub struct {
	// ConnectionString is that of a policy with the right ServiceConnect.
	ConnectionString string
	HTTP             *http.Client
}

// SetTag gives a tag of a device a value; nil takes the tag away.
func (h *Hub) SetTag(ctx context.Context, deviceID, tag string, value any) error {
	settings := map[string]string{}
	for setting := range strings.SplitSeq(h.ConnectionString, ";") {
		name, value, _ := strings.Cut(setting, "=")
		settings[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	patch, err := json.Marshal(map[string]any{"tags": map[string]any{tag: value}})
	if err != nil {
		return err
	}
	twin := "https://" + settings["HostName"] + "/twins/" + url.PathEscape(deviceID) + "?api-version=2021-04-12"
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, twin, bytes.NewReader(patch))
	if err != nil {
		return err
	}
	token, err := sign(settings["HostName"], settings["SharedAccessKeyName"], settings["SharedAccessKey"])
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", token)
	request.Header.Set("Content-Type", "application/json")
	response, err := h.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode != http.StatusOK {
		reason, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("the hub answers %s: %s (%w)", response.Status, reason, err)
	}
	return nil
}

// sign makes a shared access signature that is good for an hour.
func sign(host, policy, key string) (string, error) {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return "", fmt.Errorf("the key of policy %s is not base64", policy)
	}
	resource, expiry := url.QueryEscape(host), time.Now().Add(time.Hour).Unix()
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s\n%d", resource, expiry)
	signature := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", resource, signature, expiry, policy), nil
}

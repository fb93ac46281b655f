package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

const (
	// apiVersion of the hub's REST API.
	apiVersion = "2021-04-12"
	hubTimeout = 15 * time.Second
)

// hubClient speaks to the hub's REST API as a service application would.
type hubClient struct {
	credentials sas.Credentials
	http        *http.Client
}

// twin is what the story looks at in a twin document.
type twin struct {
	DeviceID        string         `json:"deviceId"`
	ETag            string         `json:"etag"`
	Version         int64          `json:"version"`
	ConnectionState string         `json:"connectionState"`
	Tags            map[string]any `json:"tags,omitempty"`
	Properties      struct {
		Desired  map[string]any `json:"desired"`
		Reported map[string]any `json:"reported"`
	} `json:"properties"`
}

// statusError is the hub's refusal.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the hub answers %d %s: %s", e.status, http.StatusText(e.status), e.body)
}

func newHubClient(connectionString string, caPEM []byte) (*hubClient, error) {
	credentials, err := sas.Parse(connectionString)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("the hub's ca.crt holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return &hubClient{credentials: credentials, http: &http.Client{Transport: transport, Timeout: hubTimeout}}, nil
}

// twin reads the device's twin.
func (h *hubClient) twin(ctx context.Context) (*twin, error) {
	var t twin
	return &t, h.call(ctx, http.MethodGet, "/twins/"+deviceID, nil, &t)
}

// patchTwin merges a partial twin into the device's twin, whatever its etag.
func (h *hubClient) patchTwin(ctx context.Context, patch any) (*twin, error) {
	var t twin
	return &t, h.call(ctx, http.MethodPatch, "/twins/"+deviceID, patch, &t)
}

// queryIDs returns the ids of the devices that satisfy a condition; one page
// of answers is plenty here.
func (h *hubClient) queryIDs(ctx context.Context, where string) ([]string, error) {
	var rows []twin
	body := map[string]string{"query": "SELECT * FROM devices WHERE " + where}
	if err := h.call(ctx, http.MethodPost, "/devices/query", body, &rows); err != nil {
		return nil, err
	}
	ids := []string{}
	for _, row := range rows {
		ids = append(ids, row.DeviceID)
	}
	return ids, nil
}

func (h *hubClient) call(ctx context.Context, method, path string, body, into any) error {
	request, err := newRequest(ctx, method, "https://"+h.credentials.Host+path+"?api-version="+apiVersion, body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", h.credentials.Token(time.Now().Add(time.Hour)))
	return exchange(h.http, request, into)
}

// newRequest makes a request with a JSON body, or without one.
func newRequest(ctx context.Context, method, url string, body any) (*http.Request, error) {
	if body == nil {
		return http.NewRequestWithContext(ctx, method, url, http.NoBody)
	}
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	return request, nil
}

// exchange sends a request and decodes the answer; into may be nil.
func exchange(client *http.Client, request *http.Request, into any) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer to %s %s: %w", request.Method, request.URL.Path, err)
	}
	if response.StatusCode/100 != 2 {
		return &statusError{status: response.StatusCode, body: string(content)}
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("the answer to %s %s: %w", request.Method, request.URL.Path, err)
	}
	return nil
}

// desired are the desired properties without the hub's own bookkeeping.
func (t *twin) desired() map[string]any { return withoutBookkeeping(t.Properties.Desired) }

func (t *twin) reported() map[string]any { return withoutBookkeeping(t.Properties.Reported) }

func withoutBookkeeping(properties map[string]any) map[string]any {
	kept := maps.Clone(properties)
	delete(kept, "$metadata")
	delete(kept, "$version")
	return kept
}

// show renders the twin for people.
func (t *twin) show() string {
	tags := "none"
	if t.Tags != nil {
		tags = compact(t.Tags)
	}
	return fmt.Sprintf("etag      %s (version %d, desired.$version %v)\ntags      %s\ndesired   %s\nreported  %s",
		t.ETag, t.Version, t.Properties.Desired["$version"], tags, compact(t.desired()), compact(t.reported()))
}

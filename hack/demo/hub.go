package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/rest"
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

// twin is what the story reads of a twin document.
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
	request, err := rest.NewRequest(ctx, method, "https://"+h.credentials.Host+path+"?api-version="+apiVersion, body)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", h.credentials.Token(time.Now().Add(time.Hour)))
	return rest.Exchange(h.http, request, into)
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

// show renders the twin for humans.
func (t *twin) show() string {
	tags := "none"
	if t.Tags != nil {
		tags = compact(t.Tags)
	}
	return fmt.Sprintf("etag      %s (version %d, desired.$version %v)\ntags      %s\ndesired   %s\nreported  %s",
		t.ETag, t.Version, t.Properties.Desired["$version"], tags, compact(t.desired()), compact(t.reported()))
}

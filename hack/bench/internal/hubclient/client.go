// Package hubclient calls a hub's service API with as little around it as can be, so
// that what is measured is the hub, or a floor for another client.
package hubclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

const (
	apiVersion = "?api-version=2021-04-12"
	tokenLife  = 24 * time.Hour // outlasts any run
	timeout    = time.Minute    // for one request
)

// Client calls one server.
type Client struct {
	// TLS trusts the server; over MQTT too.
	TLS *tls.Config
	// HTTP is what requests go through.
	HTTP *http.Client

	address, token string
}

// New prepares a client for so many connections at a time to an address, with the
// server's authorities as PEM. It signs in by the connection string.
func New(address string, caPEM []byte, connectionString string, connections int) (*Client, error) {
	credentials, err := sas.Parse(connectionString)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caPEM) {
		return nil, errors.New("the server's certificate is not PEM")
	}
	c := &Client{
		address: address, token: credentials.Token(time.Now().Add(tokenLife)),
		TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	c.HTTP = &http.Client{Timeout: timeout, Transport: &http.Transport{
		TLSClientConfig: c.TLS, MaxIdleConnsPerHost: connections, DisableCompression: true,
	}}
	return c, nil
}

// Send returns the answer to a request, which has to be a success.
func (c *Client) Send(ctx context.Context, method, path string, body []byte) (http.Header, []byte, error) {
	var answer bytes.Buffer
	header, err := c.SendTo(ctx, method, path, body, &answer)
	return header, answer.Bytes(), err
}

// SendTo is Send for those who want the body elsewhere.
func (c *Client) SendTo(ctx context.Context, method, path string, body []byte, into io.Writer) (http.Header, error) {
	return c.SendIf(ctx, "*", method, path, body, into) // deletions need it; to the rest it is no condition
}

// SendIf is SendTo on the condition of an etag, in quotes.
func (c *Client) SendIf(ctx context.Context, etag, method, path string, body []byte, into io.Writer) (http.Header, error) {
	return c.send(ctx, http.Header{"If-Match": {etag}}, method, path, body, into)
}

// continuation is the header that leads from a page of a query to the next one.
const continuation = "x-ms-continuation"

// Page asks for one page of a query's answer: the first one, or the one that the page
// before leads to. It returns what leads to the next one, which is empty after the last.
func (c *Client) Page(ctx context.Context, query, from string, into io.Writer) (next string, err error) {
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		return "", err
	}
	header := http.Header{}
	if from != "" {
		header.Set(continuation, from)
	}
	answered, err := c.send(ctx, header, http.MethodPost, "/devices/query", body, into)
	return answered.Get(continuation), err
}

func (c *Client) send(ctx context.Context, header http.Header, method, path string, body []byte, into io.Writer) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+c.address+path+apiVersion, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = header
	request.Header.Set("Authorization", c.token)
	answer, err := c.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end below
	if answer.StatusCode/100 != 2 {
		text, _ := io.ReadAll(answer.Body) // as much as there is
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	_, err = io.Copy(into, answer.Body)
	return answer.Header, err
}

// bulkSize is how many devices IoT Hub creates in one call.
const bulkSize = 100

// Create registers devices, each as an entry of a bulk call.
func (c *Client) Create(ctx context.Context, from, to int, entry func(int) map[string]any) error {
	for ; from < to; from += bulkSize {
		entries := []map[string]any{}
		for i := from; i < min(from+bulkSize, to); i++ {
			entries = append(entries, entry(i))
		}
		body, err := json.Marshal(entries)
		if err != nil {
			return err
		}
		if _, _, err := c.Send(ctx, http.MethodPost, "/devices", body); err != nil {
			return fmt.Errorf("creating devices: %w", err)
		}
	}
	return nil
}

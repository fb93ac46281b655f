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
	"net/http"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

const (
	apiVersion = "?api-version=2021-04-12"
	tokenLife  = 24 * time.Hour // outlasts any run
	timeout    = time.Minute    // for one request
)

// target is a server as its clients see it.
type target struct {
	serving
	token string
	tls   *tls.Config
	http  *http.Client
}

// newTarget prepares clients for so many connections at a time. A server
// without a connection string needs no token, and gets one all the same.
func newTarget(s serving, service string, connections int) (*target, error) {
	credentials, err := sas.Parse(service)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA) {
		return nil, errors.New("the server's certificate is not PEM")
	}
	t := &target{
		serving: s, token: credentials.Token(time.Now().Add(tokenLife)),
		tls: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	t.http = &http.Client{Timeout: timeout, Transport: &http.Transport{
		TLSClientConfig: t.tls, MaxIdleConnsPerHost: connections, DisableCompression: true,
	}}
	return t, nil
}

// send returns the answer to a request, which has to be a success.
func (t *target) send(ctx context.Context, method, path string, body []byte) (http.Header, []byte, error) {
	var answer bytes.Buffer
	header, err := t.sendTo(ctx, method, path, body, &answer)
	return header, answer.Bytes(), err
}

// sendTo is send for those who want the body elsewhere.
func (t *target) sendTo(ctx context.Context, method, path string, body []byte, into io.Writer) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, "https://"+t.HTTPS+path+apiVersion, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", t.token)
	request.Header.Set("If-Match", "*") // deletions need it; to the rest it is no condition
	answer, err := t.http.Do(request)
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

// create registers devices, each as an entry of a bulk call.
func (t *target) create(ctx context.Context, from, to int, entry func(int) map[string]any) error {
	for ; from < to; from += bulkSize {
		entries := []map[string]any{}
		for i := from; i < min(from+bulkSize, to); i++ {
			entries = append(entries, entry(i))
		}
		body, err := json.Marshal(entries)
		if err != nil {
			return err
		}
		if _, _, err := t.send(ctx, http.MethodPost, "/devices", body); err != nil {
			return fmt.Errorf("creating devices: %w", err)
		}
	}
	return nil
}

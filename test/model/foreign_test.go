package model_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

// anotherWriter changes a twin without the managers. It replaces the twin as a
// whole, on the condition of its etag, since faults disturb only what managers do.
func (w *world) anotherWriter(d *device, change reference.Patch) {
	w.Eventually(func() int {
		leaves, etag, registered := w.held(d.id)
		if !registered {
			return http.StatusOK
		}
		return w.replaceTwin(d.id, etag, leaves.Apply(change))
	}, patience, poll).Should(Equal(http.StatusOK))
	d.reference.Write(change)
}

// replaceTwin returns the status of the answer: 200, or 412 when another writer was faster.
func (w *world) replaceTwin(id, etag string, leaves reference.Leaves) int {
	body, err := json.Marshal(map[string]any{
		"tags":       leaves.Section("tags"),
		"properties": map[string]any{"desired": leaves.Section("desired")},
	})
	w.Expect(err).NotTo(HaveOccurred())
	req, err := http.NewRequestWithContext(w.context(), http.MethodPut,
		"https://"+w.hub.HostName()+"/twins/"+id+"?api-version=2021-04-12", bytes.NewReader(body))
	w.Expect(err).NotTo(HaveOccurred())
	req.Header.Set("If-Match", `"`+etag+`"`)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", w.token())
	resp, err := w.http().Do(req)
	w.Expect(err).NotTo(HaveOccurred())
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(resp.StatusCode).To(BeElementOf(http.StatusOK, http.StatusPreconditionFailed), "%s for %s", text, body)
	return resp.StatusCode
}

func (w *world) http() *http.Client {
	if w.kept != nil {
		return w.kept
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.hub.CACertificatePEM())
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true,
	}}
}

// token is a shared access signature of the policy service.
func (w *world) token() string {
	text, err := w.hub.ServiceConnectionString("service")
	w.Expect(err).NotTo(HaveOccurred())
	_, encoded, _ := strings.Cut(text, "SharedAccessKey=")
	key, err := base64.StdEncoding.DecodeString(encoded)
	w.Expect(err).NotTo(HaveOccurred())
	resource, expiry := url.QueryEscape(w.hub.HostName()), time.Now().Add(time.Hour).Unix()
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s\n%d", resource, expiry)
	signature := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=service", resource, signature, expiry)
}

package hubemulator_test

import (
	"bytes"
	"context"
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
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// hub is a running emulator with its own clock and a client that holds the
// rights of iothubowner.
type hub struct {
	*client
	server *hubemulator.Server
	clock  *testclock.FakeClock
}

var startOfTime = time.Date(2026, 11, 20, 10, 20, 30, 123_450_000, time.UTC)

func startHub(t *testing.T, devices ...string) *hub {
	t.Helper()
	return startHubWith(t, hubemulator.Options{Devices: devices})
}

func startHubWith(t *testing.T, opts hubemulator.Options) *hub {
	t.Helper()
	clock := testclock.NewFakeClock(startOfTime)
	opts.Clock = clock
	server, err := hubemulator.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{server: server, clock: clock}
	h.client = newClient(t, server)
	h.client.token = h.policyToken(t, "iothubowner")
	t.Cleanup(func() {
		h.client.http.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// client speaks to the service API in plain HTTP requests.
type client struct {
	http  *http.Client
	base  string
	token string
}

func newClient(t *testing.T, server *hubemulator.Server) *client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server.CACertificatePEM()) {
		t.Fatal("the CA certificate is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{http: &http.Client{Transport: transport}, base: "https://" + server.HTTPSAddress()}
}

type response struct {
	status int
	header http.Header
	text   string
}

func (c *client) do(ctx context.Context, method, path, body string, headers ...string) (response, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", c.token)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end below
	text, err := io.ReadAll(answer.Body)
	return response{status: answer.StatusCode, header: answer.Header, text: string(text)}, err
}

const version = "?api-version=2021-04-12"

// call sends a request with an api-version and fails the test without an answer.
func (c *client) call(t *testing.T, method, path, body string, headers ...string) response {
	t.Helper()
	answer, err := c.do(t.Context(), method, path+version, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// ok is call for a request that must succeed; it returns the decoded body.
func (c *client) ok(t *testing.T, method, path, body string, headers ...string) object {
	t.Helper()
	answer := c.call(t, method, path, body, headers...)
	if answer.status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, answer.status, answer.text)
	}
	return decode[object](t, answer.text)
}

type object = map[string]any

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var decoded T
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	decoder.UseNumber()
	if err := decoder.Decode(&decoded); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return decoded
}

// at walks down a decoded document.
func at(document any, path ...string) any {
	for _, name := range path {
		below, isObject := document.(object)
		if !isObject {
			return nil
		}
		document = below[name]
	}
	return document
}

// sign is an independent signature: it shares nothing with the emulator's.
func sign(encodedResource, base64Key, policy string, expiry time.Time) string {
	key, err := base64.StdEncoding.DecodeString(base64Key)
	if err != nil {
		panic("the test's key is not base64")
	}
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s\n%d", encodedResource, expiry.Unix())
	signature := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	token := fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d", encodedResource, signature, expiry.Unix())
	if policy != "" {
		token += "&skn=" + policy
	}
	return token
}

// keyOf takes the key out of a connection string.
func keyOf(t *testing.T, connectionString string) string {
	t.Helper()
	_, key, found := strings.Cut(connectionString, ";SharedAccessKey=")
	if !found {
		t.Fatal("the connection string has no key")
	}
	return key
}

func (h *hub) policyKey(t *testing.T, policy string) string {
	t.Helper()
	text, err := h.server.ServiceConnectionString(policy)
	if err != nil {
		t.Fatal(err)
	}
	return keyOf(t, text)
}

func (h *hub) policyToken(t *testing.T, policy string) string {
	t.Helper()
	resource := url.QueryEscape(h.server.HostName())
	return sign(resource, h.policyKey(t, policy), policy, h.clock.Now().Add(time.Hour))
}

// expectError checks the whole error envelope.
func expectError(t *testing.T, answer response, status int, code, text string) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(answer.status).To(Equal(status), answer.text)
	g.Expect(answer.header.Get("iothub-errorcode")).To(Equal(code))
	g.Expect(answer.header.Get("Content-Type")).To(Equal("application/json; charset=utf-8"))
	g.Expect(answer.header.Get("x-ms-request-id")).To(MatchRegexp(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`))
	envelope := decode[object](t, answer.text)
	g.Expect(envelope).To(HaveLen(2))
	g.Expect(envelope["Message"]).To(Equal("ErrorCode:" + code + ";" + text))
	g.Expect(envelope["ExceptionMessage"]).To(
		MatchRegexp(`^Tracking ID:[0-9a-f]{32}-G:\d+-TimeStamp:\d\d/\d\d/\d{4} \d\d:\d\d:\d\d$`))
}

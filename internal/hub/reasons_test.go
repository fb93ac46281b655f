package hub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// Each way a hub, or something in front of it, can answer a change.
func TestReasonOfAnAnswer(t *testing.T) {
	t.Parallel()
	html := "<html><body>Bad Gateway 04:05:06</body></html>"
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		reason  Reason
		unknown bool
		says    string
	}{
		"unauthorized":         {refusal(401, "IotHubUnauthorizedAccess", "Unauthorized"), ReasonUnauthorized, false, "ServiceConnect"},
		"no such device":       {refusal(404, "DeviceNotFound", "d1"), ReasonDeviceNotFound, false, "register it"},
		"another 404 of a hub": {refusal(404, "JobNotFound", "x"), ReasonUnexpectedAnswer, true, "HostName"},
		"a missing module":     {refusal(404, "ModuleNotFound", "x"), ReasonDeviceNotFound, false, "register it"},
		"already there":        {refusal(409, "DeviceAlreadyExists", "x"), ReasonAlreadyExists, false, "another id"},
		"a 404 of a proxy":     {page(404, html), ReasonUnexpectedAnswer, true, "not come from IoT Hub"},
		"stale etag":           {refusal(412, "PreconditionFailed", "ETag mismatch for device ID 'd1'"), ReasonPreconditionFailed, false, "read it again"},
		"throttled":            {refusal(429, "ThrottlingBacklogTimeout", "The request has been throttled."), ReasonThrottled, false, "later"},
		"quota":                {refusal(403, "IotHubQuotaExceeded", "x"), ReasonQuotaExceeded, false, "midnight UTC"},
		"too large":            {refusal(403, "DeviceModelMaxPropertiesExceeded", "'Properties.Desired' size should be less than 32768 bytes."), ReasonRefused, false, "32768 bytes"},
		"a 401 of a proxy":     {page(401, html), ReasonUnexpectedAnswer, true, "not come from IoT Hub"},
		"a 403 of a proxy":     {page(403, html), ReasonUnexpectedAnswer, true, "not come from IoT Hub"},
		"basic tier":           {refusal(403, "OperationNotAvailableInCurrentTier", "x"), ReasonForbidden, false, "tier"},
		"invalid":              {refusal(400, "ArgumentInvalid", "Property or Tag value should be maximum 4096 bytes. Error in Property/Tag a"), ReasonRefused, false, "maximum 4096 bytes. Error in Property/Tag a;"},
		"a 400 of a proxy":     {page(400, html), ReasonUnexpectedAnswer, true, "proxies"},
		"conflict":             {refusal(409, "ConfigurationAlreadyExists", "x"), ReasonRefused, false, "correct it"},
		"device not online":    {refusal(404, "DeviceNotOnline", "x"), ReasonDeviceOffline, false, "nothing was called"},
		"device timed out":     {refusal(504, "GatewayTimeout", "x"), ReasonDeviceTimeout, true, "look at it before you call again"},
		"a 504 of a proxy":     {page(504, html), ReasonServerError, true, "tried again"},
		"too much":             {refusal(413, "MessageTooLarge", "x"), ReasonRefused, false, "correct it"},
		"not allowed":          {page(405, html), ReasonUnexpectedAnswer, true, "proxies"},
		"request timeout":      {page(408, html), ReasonUnreachable, true, "network"},
		"server error":         {refusal(500, "ServerError", "x"), ReasonServerError, true, "tried again"},
		"bad gateway":          {page(502, html), ReasonServerError, true, "tried again"},
		"unavailable":          {refusal(503, "ServiceUnavailable", "x"), ReasonServerError, true, "tried again"},
		"created":              {page(201, twinD1), ReasonUnexpectedAnswer, true, "not come from IoT Hub"},
		"no content":           {page(204, ""), ReasonUnexpectedAnswer, true, "no twin"},
		"empty":                {page(200, ""), ReasonUnexpectedAnswer, true, "not a twin document"},
		"a page":               {page(200, html), ReasonUnexpectedAnswer, true, "not a twin document"},
		"cut short":            {page(200, twinD1[:40]), ReasonUnexpectedAnswer, true, "not a twin document"},
		"tags of no object":    {page(200, `{"deviceId":"d1","etag":"AAAAAAAAAAE=","tags":5}`), ReasonUnexpectedAnswer, true, "not a twin document"},
		"desired of no object": {page(200, `{"deviceId":"d1","etag":"AAAAAAAAAAE=","properties":{"desired":[]}}`), ReasonUnexpectedAnswer, true, "not a twin document"},
		"two documents":        {page(200, twinD1+twinD1), ReasonUnexpectedAnswer, true, "more than one"},
		"another device":       {page(200, strings.Replace(twinD1, "d1", "D1", 1)), ReasonUnexpectedAnswer, true, "not about the twin"},
		"no etag":              {page(200, `{"deviceId":"d1"}`), ReasonUnexpectedAnswer, true, "etag"},
		"wildcard etag":        {page(200, `{"deviceId":"d1","etag":"*"}`), ReasonUnexpectedAnswer, true, "etag"},
		"too long":             {page(200, twinD1+strings.Repeat(" ", maxTwinBytes)), ReasonUnexpectedAnswer, true, "longer than 1048576 bytes"},
		"header too long":      {hugeHeader, ReasonUnreachable, true, "failed"},
		"truncated":            {truncated, ReasonUnreachable, true, "before the answer was complete"},
		"reset":                {reset, ReasonUnreachable, true, "before the answer was complete"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			s := mustOpen(t, pretend(t, test.handler))
			patch := func() error {
				_, err := s.PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": "b"}})
				return err
			}
			err := patch()
			own := asError(t, err)
			g.Expect(own.Reason).To(Equal(test.reason), "%v", err)
			g.Expect(ReasonOf(fmt.Errorf("wrapped: %w", err))).To(Equal(test.reason))
			g.Expect(OutcomeUnknown(err)).To(Equal(test.unknown))
			g.Expect(own.Error()).To(And(ContainSubstring(s.Host()), ContainSubstring(`"d1"`), ContainSubstring(test.says)))
			g.Expect(own.Error()).NotTo(Or(ContainSubstring("Tracking"), ContainSubstring("04:05"), ContainSubstring("6c3b8f0e")))
			g.Expect(patch().Error()).To(Equal(err.Error()), "the same mishap reads the same each time")
		})
	}
}

func hugeHeader(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Huge", strings.Repeat("a", 2*maxHeaderBytes))
}

func truncated(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	fmt.Fprint(w, twinD1)
}

func reset(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if inner, ok := connection.(*tls.Conn); ok {
		if tcp, ok := inner.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	}
}

// A server that throws the credential back at us must not get it into a log.
func TestEchoedCredentialsStayOutOfErrors(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(authorization string) string{
		"the whole header":   func(a string) string { return a },
		"the bare signature": func(a string) string { return signatureIn(a) },
		"the key":            func(string) string { return testKey },
		"the key, unpadded":  func(string) string { return strings.TrimRight(testKey, "=") },
	} {
		for _, status := range []int{200, 302, 400, 401, 403, 404, 412, 429, 500} {
			for _, code := range []string{"ArgumentInvalid", "the echo"} {
				t.Run(fmt.Sprintf("%s with %d, code %s", name, status, code), func(t *testing.T) {
					t.Parallel()
					answerWithEcho(t, say, status, code)
				})
			}
		}
	}
}

// answerWithEcho has a server answer with what say makes of the credential, in its body and, but for the code, in every
// header that is read.
func answerWithEcho(t *testing.T, say func(string) string, status int, code string) {
	t.Helper()
	g := NewWithT(t)
	signature := make(chan string, 1)
	s := mustOpen(t, pretend(t, func(w http.ResponseWriter, r *http.Request) {
		echo := say(r.Header.Get("Authorization"))
		signature <- signatureIn(r.Header.Get("Authorization"))
		if code == "the echo" {
			code = echo
		}
		w.Header().Set(errorCodeHeader, code)
		w.Header().Set("x-ms-request-id", echo)
		w.Header().Set("Location", "https://"+url.QueryEscape(echo))
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"Message":"ErrorCode:ArgumentInvalid;you sent %s"}`, echo)
	}))
	_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
	own := asError(t, err)
	sent := <-signature
	g.Expect(sent).NotTo(BeEmpty())
	for _, text := range []string{err.Error(), own.Code, own.RequestID} {
		g.Expect(text).NotTo(Or(
			ContainSubstring(sent), ContainSubstring(strings.TrimRight(sent, "=")), ContainSubstring(url.QueryEscape(sent)),
			ContainSubstring(testKey), ContainSubstring(strings.TrimRight(testKey, "="))))
	}
}

func TestIDsThatHoldSecretsAreDropped(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	secrets := secretsOf("c2VjcmV0cw==", "SharedAccessSignature sr=h&sig=c2lnbmF0dXJl&se=1&skn=service")
	for token, want := range map[string]string{
		"ThrottlingException": "ThrottlingException", "6c3b8f0e-1111": "6c3b8f0e-1111", "x-c2VjcmV0cw": "", "c2lnbmF0dXJl": "",
		"SharedAccessKey": "", "two words": "", "line\nbreak": "", "é": "", strings.Repeat("a", 129): "",
	} {
		g.Expect(cleanToken(token, secrets)).To(Equal(want), token)
	}
}

func signatureIn(authorization string) string {
	_, fields, _ := strings.Cut(authorization, " ")
	values, err := url.ParseQuery(fields)
	if err != nil {
		return ""
	}
	return values.Get("sig")
}

func TestHubTextIsCleaned(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for body, want := range map[string][2]string{
		`{"Message":"ErrorCode:ArgumentInvalid;bad\u0000\nthing. Tracking ID:abc-TimeStamp:1"}`: {"ArgumentInvalid", "bad thing"},
		`{"errorCode":409301,"message":"a module conflict","trackingId":"x"}`:                   {"", "a module conflict"},
		`{"Message":"{\"errorCode\":404103,\"trackingId\":\"x\",\"message\":\"inner\"}"}`:       {"", "inner"},
		`{"Message":"ErrorCode:ArgumentInvalid;BadRequest","ExceptionMessage":""}`:              {"ArgumentInvalid", ""},
		`{"Message":"ErrorCode:not a code;text"}`:                                               {"", "text"},
		`{"Message":7}`: {"", ""},
		`<html>`:        {"", ""},
		``:              {"", ""},
	} {
		code, text := hubError(http.Header{}, []byte(body), nil)
		g.Expect([2]string{code, text}).To(Equal(want), body)
	}
	_, text := hubError(http.Header{}, []byte(`{"Message":"`+strings.Repeat("é", 2000)+`"}`), nil)
	g.Expect(len(text)).To(BeNumerically("<=", maxHubText+len("…")))
	g.Expect(text).To(HaveSuffix("é…"))
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "10": 10 * time.Second, " 3 ": 3 * time.Second, "-1": 0, "soon": 0, "99999999": maxRetryAfter,
		"Fri, 02 Jan 2026 03:04:35 GMT": 30 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0, "9999999999999999999999": 0,
	} {
		g.Expect(parseRetryAfter(text, now)).To(Equal(want), text)
	}
	s := mustOpen(t, pretend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "17")
		refusal(429, "ThrottlingException", "x")(w, r)
	}))
	_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(asError(t, err).RetryAfter).To(Equal(17 * time.Second))
}

func TestUnreachableHosts(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	// A port that the system gives to no caller that asks for any.
	const closed = "127.0.0.1:1"
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)

	for host, want := range map[string]struct {
		reason Reason
		says   string
	}{
		closed:                                   {ReasonUnreachable, "nothing accepts connections"},
		"no-such-hub.invalid":                    {ReasonUnknownHost, "check HostName"},
		strings.TrimPrefix(plain.URL, "http://"): {ReasonUnexpectedAnswer, "not TLS"},
	} {
		s := mustOpen(t, Config{ConnectionString: connectionTo(host), AllowedHostSuffixes: []string{"127.0.0.1", ".invalid"}})
		_, err := s.PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": "b"}})
		own := asError(t, err)
		g.Expect(own.Reason).To(Equal(want.reason), "%s: %v: %v", host, err, own.Unwrap())
		g.Expect(own.Error()).To(ContainSubstring(want.says))
		g.Expect(OutcomeUnknown(err)).To(BeFalse(), "nothing was sent to %s", host)
	}
}

func TestProxiesThatFail(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	strict := httptest.NewServer(page(http.StatusProxyAuthRequired, "who are you?"))
	t.Cleanup(strict.Close)
	for proxy, says := range map[string]string{
		"http://user:pa55word@" + strings.TrimPrefix(strict.URL, "http://"): "status 407",
		"http://user:pa55word@no-such-proxy.invalid:3128":                   "could not be used",
	} {
		s := mustOpen(t, Config{ConnectionString: connectionTo("h.example"), AllowedHostSuffixes: []string{"h.example"}})
		address, err := url.Parse(proxy)
		g.Expect(err).NotTo(HaveOccurred())
		s.transport.Proxy = http.ProxyURL(address)
		_, err = s.GetTwin(t.Context(), ID{Device: "d1"})
		own := asError(t, err)
		g.Expect(own.Reason).To(Equal(ReasonUnreachable))
		g.Expect(own.Error()).To(And(ContainSubstring("HTTPS_PROXY"), ContainSubstring(says)))
		g.Expect(own.Error()).NotTo(ContainSubstring("pa55word"))
	}
}

func TestUntrustedCertificates(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	valid := pretend(t, page(200, twinD1))
	systemRoots := valid
	systemRoots.CABundle = nil
	_, err := mustOpen(t, systemRoots).GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(asError(t, err).Reason).To(Equal(ReasonUntrustedCertificate))
	g.Expect(err).To(MatchError(ContainSubstring("into caBundle")))

	for says, template := range map[string]x509.Certificate{
		"has expired":      {NotAfter: time.Now().Add(-time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
		"for another name": {NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"elsewhere.example"}},
	} {
		cfg := serveWith(t, template)
		_, err := mustOpen(t, cfg).GetTwin(t.Context(), ID{Device: "d1"})
		g.Expect(asError(t, err).Reason).To(Equal(ReasonUntrustedCertificate), "%v", err)
		g.Expect(err).To(MatchError(ContainSubstring(says)))
	}
}

// serveWith serves twins under a certificate made from the template, which the returned configuration trusts.
func serveWith(t *testing.T, template x509.Certificate) Config {
	t.Helper()
	g := NewWithT(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template.SerialNumber = big.NewInt(1)
	template.Subject = pkix.Name{CommonName: "test"}
	template.NotBefore = time.Now().Add(-24 * time.Hour)
	template.IsCA, template.BasicConstraintsValid = true, true
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	g.Expect(err).NotTo(HaveOccurred())
	server := httptest.NewUnstartedServer(page(200, twinD1))
	server.Config.ErrorLog = quiet()
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return Config{
		ConnectionString:    connectionTo(strings.TrimPrefix(server.URL, "https://")),
		CABundle:            pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		AllowedHostSuffixes: []string{"127.0.0.1"},
	}
}

func TestDocumentsAreReadLeniently(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for text, want := range map[string]time.Time{
		"2020-07-28T22:17:23.785061Z":       time.Date(2020, 7, 28, 22, 17, 23, 785061000, time.UTC),
		"2020-07-28T22:17:23.7850612+00:00": time.Date(2020, 7, 28, 22, 17, 23, 785061200, time.UTC),
		"2020-07-28T22:17:23":               time.Date(2020, 7, 28, 22, 17, 23, 0, time.UTC),
		"0001-01-01T00:00:00Z":              {},
		"yesterday":                         {},
		"":                                  {},
	} {
		reported := fmt.Sprintf(`{"deviceId":"d1","etag":"x","properties":{"reported":{"$metadata":{"$lastUpdated":%q}}}}`, text)
		s := mustOpen(t, pretend(t, page(200, reported)))
		twin, err := s.GetTwin(t.Context(), ID{Device: "d1"})
		g.Expect(err).NotTo(HaveOccurred(), text)
		g.Expect(twin.ReportedAt()).To(Equal(want), text)
	}
}

package hub

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/amenzhinsky/iothub/common"
	"github.com/amenzhinsky/iothub/iotservice"
	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// theirPolicy marks the requests of the other party.
const theirPolicy = "theirs"

// quarter is a hub that two parties use: one, called ours, has proved its credential, and
// the other one is in trouble.
type quarter struct {
	*WithT
	pool         *Pool
	ours, theirs *session
	// answer to the other party's requests, and how many came to the hub.
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64
	// certificate that the hub shows: both parties trust the first one, and only we the second.
	certificate  atomic.Pointer[tls.Certificate]
	certificates [2]tls.Certificate
}

func newQuarter(t *testing.T, theirsProved bool) *quarter {
	t.Helper()
	q := &quarter{WithT: NewWithT(t), pool: NewPool(PoolOptions{})}
	bundles := make([][]byte, len(q.certificates))
	for i := range q.certificates {
		q.certificates[i], bundles[i] = selfSigned(t)
	}
	q.certificate.Store(&q.certificates[0])
	q.answerThem(page(http.StatusOK, twinD1))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "skn="+theirPolicy) {
			q.asked.Add(1)
			(*q.answer.Load())(w, r)
			return
		}
		page(http.StatusOK, twinD1)(w, r)
	}))
	server.Config.ErrorLog = quiet()
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*q.certificate.Load()}}, nil
		},
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	q.ours = q.open(t, host, "ours", slices.Concat(bundles...), 1)
	q.theirs = q.open(t, host, theirPolicy, bundles[0], 2)
	q.Expect(q.get(q.ours)).To(Succeed())
	if theirsProved {
		q.Expect(q.get(q.theirs)).To(Succeed())
	}
	q.asked.Store(0)
	return q
}

func (q *quarter) open(t *testing.T, host, policy string, bundle []byte, created int64) *session {
	t.Helper()
	s, err := q.pool.Session(policy, Config{
		ConnectionString: "HostName=" + host + ";SharedAccessKeyName=" + policy + ";SharedAccessKey=" + testKey,
		CABundle:         bundle, AllowedHostSuffixes: []string{"127.0.0.1"}, Age: Age{Created: time.Unix(created, 0)},
	})
	q.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { q.pool.Forget(policy) })
	own, ok := s.(*session)
	q.Expect(ok).To(BeTrue())
	return own
}

func (q *quarter) answerThem(answer http.HandlerFunc) { q.answer.Store(&answer) }

func (q *quarter) get(s *session) error {
	_, err := s.GetTwin(context.Background(), ID{Device: "d1"})
	return err
}

// selfSigned makes a certificate for the test server's address.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	g := NewWithT(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	g.Expect(err).NotTo(HaveOccurred())
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	g.Expect(err).NotTo(HaveOccurred())
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

// untrusted has the hub show a certificate that the other party does not trust.
func untrusted(_ *testing.T, q *quarter) {
	q.certificate.Store(&q.certificates[1])
	q.theirs.closeIdle()
}

// behindProxy has the other party's requests go through a proxy.
func behindProxy(at func(*testing.T) string) func(*testing.T, *quarter) {
	return func(t *testing.T, q *quarter) {
		t.Helper()
		proxy, err := url.Parse(at(t))
		q.Expect(err).NotTo(HaveOccurred())
		q.theirs.transport.Proxy = http.ProxyURL(proxy)
		q.theirs.closeIdle()
	}
}

func refusingProxy(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(page(http.StatusProxyAuthRequired, "no"))
	t.Cleanup(server.Close)
	return server.URL
}

func deadProxy(*testing.T) string {
	server := httptest.NewServer(page(http.StatusOK, ""))
	server.Close()
	return server.URL
}

// withoutToken has the other party sign in, and fail to.
func withoutToken(t *testing.T, q *quarter) {
	t.Helper()
	signIn, err := newTokens(WorkloadIdentity{
		TenantID: "8c4b0a1e-0000-4000-8000-000000000001", ClientID: "8c4b0a1e-0000-4000-8000-000000000002",
		Assertion:     func(context.Context) (string, error) { return "", errors.New("no token is made") },
		AuthorityHost: "https://127.0.0.1:1/", // where nothing listens
	}, clock.RealClock{})
	q.Expect(err).NotTo(HaveOccurred())
	chain := newChain(q.theirs.transport, target{connectionString: connectionString{host: q.theirs.host}, name: q.theirs.host}, Config{Clock: clock.RealClock{}}, q.theirs.standing, signIn)
	q.theirs.client, err = iotservice.New(common.NewSharedAccessKey(q.theirs.host, theirPolicy, testKey),
		iotservice.WithHTTPClient(&http.Client{Transport: chain}), iotservice.WithLogger(discard{}))
	q.Expect(err).NotTo(HaveOccurred())
}

func answers(answer http.HandlerFunc) func(*testing.T, *quarter) {
	return func(_ *testing.T, q *quarter) { q.answerThem(answer) }
}

// TestTheTroubleOfOnePartyIsItsOwn: whatever another one meets, we notice nothing, unless
// it has proved its credential and the hub itself is in trouble.
func TestTheTroubleOfOnePartyIsItsOwn(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		trouble func(*testing.T, *quarter)
		reason  Reason
		// keptBack tells that it is not tried each time.
		keptBack bool
		// ofHub tells that it concerns all who use the hub.
		ofHub bool
		// leaves tells that it costs the credential's standing.
		leaves bool
	}{
		"a certificate that it does not trust": {trouble: untrusted, reason: ReasonUntrustedCertificate, keptBack: true},
		"a proxy that refuses":                 {trouble: behindProxy(refusingProxy), reason: ReasonUnreachable, keptBack: true},
		"a proxy that is not there":            {trouble: behindProxy(deadProxy), reason: ReasonUnreachable, keptBack: true},
		"a sign-in that fails":                 {trouble: withoutToken, reason: ReasonUnreachable, keptBack: true},
		"401":                                  {trouble: answers(refusal(http.StatusUnauthorized, "IotHubUnauthorized", "")), reason: ReasonUnauthorized, leaves: true},
		"403":                                  {trouble: answers(refusal(http.StatusForbidden, "IotHubForbidden", "")), reason: ReasonForbidden, leaves: true},
		"the daily quota":                      {trouble: answers(refusal(http.StatusForbidden, "IotHubQuotaExceeded", "")), reason: ReasonQuotaExceeded, ofHub: true},
		"429":                                  {trouble: answers(refusal(http.StatusTooManyRequests, "ThrottlingException", "")), reason: ReasonThrottled, ofHub: true},
		"503":                                  {trouble: answers(refusal(http.StatusServiceUnavailable, "ServiceUnavailable", "")), reason: ReasonServerError, keptBack: true, ofHub: true},
		"it hangs up": {
			trouble: answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), reason: ReasonUnreachable, keptBack: true, ofHub: true,
		},
		"an answer of something else": {trouble: answers(page(http.StatusTeapot, "tea")), reason: ReasonUnexpectedAnswer, ofHub: true},
	} {
		for standing, proved := range map[string]bool{"proved": true, "unproved": false} {
			t.Run(name+", "+standing, func(t *testing.T) {
				t.Parallel()
				q := newQuarter(t, proved)
				tt.trouble(t, q)
				before := q.noticed()
				q.meet(tt.reason, tt.keptBack)
				q.Expect(q.theirs.Proved()).To(Equal(proved && !tt.leaves))
				if proved && tt.ofHub {
					q.Expect(q.noticed()).NotTo(Equal(before), "it is the hub's trouble")
					return
				}
				q.Expect(q.noticed()).To(Equal(before))
				q.Expect(q.get(q.ours)).To(Succeed())
			})
		}
	}
}

// noticed is all that we could notice of another party.
func (q *quarter) noticed() []any {
	turns := q.ours.Dispatcher()
	seen := []any{turns.Broken(), turns.Messages().Used, turns.Messages().Pressure, turns.Stretch(), turns.Backlog()}
	for _, class := range []dispatch.Class{dispatch.Reads, dispatch.Updates, dispatch.Queries, dispatch.Registry} {
		seen = append(seen, turns.Rate(class))
	}
	return seen
}

// meet has the other party meet its trouble again and again.
func (q *quarter) meet(reason Reason, keptBack bool) {
	var first error
	for i := range 6 {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		_, err := q.theirs.GetTwin(ctx, ID{Device: "d1"})
		cancel()
		met, ok := errors.AsType[*Error](err)
		q.Expect(ok).To(BeTrue())
		if reason == ReasonThrottled && i > 0 {
			continue // it does not wait for the pause
		}
		q.Expect(met.Reason).To(Equal(reason))
		if first == nil {
			first = err
		}
		q.Expect(err).To(MatchError(first.Error()), "in the same words")
		q.Expect(met.SecondHand).To(Equal(keptBack && i == 5))
	}
}

// TestWhatIsToldSecondHandWillPass, whatever the request met that it was told by.
func TestWhatIsToldSecondHandWillPass(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, first := range []error{
		nil,
		&net.DNSError{IsNotFound: true},
		&net.OpError{Op: "dial", Err: errors.New("refused")},
		tls.RecordHeaderError{},
		context.DeadlineExceeded,
		&Error{Reason: ReasonServerError, Status: http.StatusServiceUnavailable},
		&Error{Reason: ReasonUnauthorized},
		&Error{Reason: ReasonUntrustedCertificate},
	} {
		told := asError(t, turnedAway(&dispatch.BrokenError{Last: first, RetryAfter: time.Second}))
		g.Expect(told.Reason).To(BeElementOf(ReasonUnreachable, ReasonServerError), "%v", first)
		g.Expect(told.SecondHand).To(BeTrue())
		g.Expect(told.RetryAfter).To(Equal(time.Second))
		g.Expect(told.Sent).To(BeFalse())
	}
}

// TestAPermissionThatIsMissingForIdentitiesCostsNoStanding.
func TestAPermissionThatIsMissingForIdentitiesCostsNoStanding(t *testing.T) {
	t.Parallel()
	q := newQuarter(t, true)
	q.answerThem(refusal(http.StatusUnauthorized, "IotHubUnauthorized", ""))
	_, err := q.theirs.GetIdentity(t.Context(), ID{Device: "d1"})
	q.Expect(ReasonOf(err)).To(Equal(ReasonUnauthorized))
	q.Expect(q.theirs.Proved()).To(BeTrue())
	unproved := newQuarter(t, false)
	unproved.answerThem(refusal(http.StatusNotFound, "DeviceNotFound", ""))
	_, err = unproved.theirs.GetIdentity(t.Context(), ID{Device: "d1"})
	unproved.Expect(ReasonOf(err)).To(Equal(ReasonDeviceNotFound))
	unproved.Expect(unproved.theirs.Proved()).To(BeFalse())
}

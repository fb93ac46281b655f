package hub

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
)

// tunnel serves CONNECT to those who sign in as user:pa55word, as the proxy of a plant does.
func tunnel(t *testing.T, opened *atomic.Int64) *url.URL {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwYTU1d29yZA==" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		opened.Add(1)
		w.WriteHeader(http.StatusOK)
		here, buffered, err := http.NewResponseController(w).Hijack() // the client may have sent something by now
		if err != nil {
			t.Error(err)
			return
		}
		// Either end closes both: the errors are those ends.
		go func() { _, _ = io.Copy(there, buffered); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return address
}

// TestThroughAProxy that wants a name and a password, and no other way.
func TestThroughAProxy(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		user *url.Userinfo
		want Reason
	}{
		"signed in":        {url.UserPassword("user", "pa55word"), ""},
		"a wrong password": {url.UserPassword("user", "pa55w0rd"), ReasonUnreachable},
		"not signed in":    {nil, ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			var opened atomic.Int64
			proxy := tunnel(t, &opened)
			proxy.User = tt.user
			s := mustOpen(t, pretend(t, page(http.StatusOK, twinD1)))
			s.transport.Proxy = http.ProxyURL(proxy)
			for range 3 {
				_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
				g.Expect(ReasonOf(err)).To(Equal(tt.want))
				if err != nil {
					g.Expect(err.Error()).To(And(ContainSubstring("HTTPS_PROXY"), Not(ContainSubstring("pa55"))))
				}
			}
			if tt.want == "" {
				g.Expect(opened.Load()).To(BeEquivalentTo(1), "one connection for all requests")
			}
			s.closeIdle()
		})
	}
}

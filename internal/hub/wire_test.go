package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// seen is what a server saw of a request.
type seen struct {
	method, uri, body string
	header            http.Header
}

// record answers every request with the body, and hands on what it saw.
func record(t *testing.T, answer string) (Config, <-chan seen) {
	t.Helper()
	requests := make(chan seen, 16)
	cfg := pretend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the request: %v", err)
		}
		requests <- seen{r.Method, r.RequestURI, string(body), r.Header}
		fmt.Fprint(w, answer)
	})
	return cfg, requests
}

func TestPatchOnTheWire(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		patch Patch
		body  string
	}{
		"tags alone":     {Patch{Tags: map[string]any{"a": nil}}, `{"deviceId":"d1","etag":"AAAAAAAAAAE=","tags":{"a":null}}`},
		"desired alone":  {Patch{Desired: map[string]any{"a": map[string]any{}}}, `{"deviceId":"d1","etag":"AAAAAAAAAAE=","properties":{"desired":{"a":{}}}}`},
		"number as such": {Patch{Desired: map[string]any{"a": json.Number("1.0")}}, `{"deviceId":"d1","etag":"AAAAAAAAAAE=","properties":{"desired":{"a":1.0}}}`},
		"both":           {Patch{Tags: map[string]any{"a": 1}, Desired: map[string]any{"b": []any{true}}}, `{"deviceId":"d1","etag":"AAAAAAAAAAE=","tags":{"a":1},"properties":{"desired":{"b":[true]}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			cfg, requests := record(t, twinD1)
			cfg.UserAgent = "tester/1"
			_, err := mustOpen(t, cfg).PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", test.patch)
			g.Expect(err).NotTo(HaveOccurred())
			request := <-requests
			g.Expect(request.method).To(Equal(http.MethodPatch))
			g.Expect(request.header.Values("If-Match")).To(Equal([]string{`"AAAAAAAAAAE="`}))
			g.Expect(request.header.Get("User-Agent")).To(Equal("tester/1"))
			g.Expect(request.body).To(Equal(test.body))
		})
	}
}

func TestUnconditionalAndEmptyChangesAreNotSent(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	cfg, requests := record(t, twinD1)
	s := mustOpen(t, cfg)
	change := Patch{Tags: map[string]any{"a": "b"}}
	for _, test := range []struct {
		device, etag string
		patch        Patch
		about        string
	}{
		{"d1", "", change, "etag"},
		{"d1", "*", change, "etag"},
		{"d1", `"AAAAAAAAAAE="`, change, "quotes"},
		{"d1", "a\r\nX: y", change, "etag"},
		{"d1", "AAAAAAAAAAE=", Patch{}, "empty"},
		{"d1", "AAAAAAAAAAE=", Patch{Tags: map[string]any{}, Desired: map[string]any{}}, "empty"},
		{"d1", "AAAAAAAAAAE=", Patch{Desired: map[string]any{"a": math.NaN()}}, "not JSON"},
		{"d1", "AAAAAAAAAAE=", Patch{Desired: map[string]any{"a": json.Number("1x")}}, "not JSON"},
		{"", "AAAAAAAAAAE=", change, "device id is empty"},
		{"..", "AAAAAAAAAAE=", change, "directory"},
		{strings.Repeat("a", 129), "AAAAAAAAAAE=", change, "128"},
	} {
		_, err := s.PatchTwin(t.Context(), ID{Device: test.device}, test.etag, test.patch)
		refused := asError(t, err)
		g.Expect(refused.Reason).To(Equal(ReasonRefused), test.about)
		g.Expect(refused.Error()).To(ContainSubstring(test.about))
		g.Expect(OutcomeUnknown(err)).To(BeFalse(), test.about)
	}
	_, err := allIDs(t.Context(), s, Devices, " ")
	g.Expect(asError(t, err).Reason).To(Equal(ReasonRefused))
	g.Expect(requests).To(BeEmpty())
}

func TestDeviceIDIsOnePathSegment(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for id, segment := range map[string]string{
		"a/modules/b": "a%2Fmodules%2Fb",
		"a+b c":       "a%2Bb%20c",
		"a%2Fb":       "a%252Fb",
		"a?x=y#z":     "a%3Fx%3Dy%23z",
		"it's":        "it%27s",
		"../../x":     "..%2F..%2Fx",
	} {
		cfg, requests := record(t, strings.Replace(twinD1, `"d1"`, fmt.Sprintf("%q", id), 1))
		_, err := mustOpen(t, cfg).GetTwin(t.Context(), ID{Device: id})
		g.Expect(err).NotTo(HaveOccurred(), id)
		path, _, _ := strings.Cut((<-requests).uri, "?")
		g.Expect(path).To(Equal("/twins/" + segment))
	}
}

func TestQueryAsksForFullPagesAndFollowsEmptyOnes(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	answers := map[string]struct{ rows, next string }{
		"":       {`[{"deviceId":"b","tags":{"x":1}},{"deviceId":"a"}]`, "second"},
		"second": {`[]`, "third"},
		"third":  {`[{"deviceId":"c"},{"deviceId":"a"}]`, ""},
	}
	cfg := pretend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-ms-max-item-count") != "100" {
			t.Errorf("page size %q", r.Header.Get("x-ms-max-item-count"))
		}
		var query struct{ Query string }
		if err := json.NewDecoder(r.Body).Decode(&query); err != nil {
			t.Errorf("decode: %v", err)
		}
		if query.Query != "SELECT deviceId FROM devices WHERE (tags.a = 1 OR tags.b = 2)" {
			t.Errorf("query %q", query.Query)
		}
		answer := answers[r.Header.Get("x-ms-continuation")]
		if answer.next != "" {
			w.Header().Set("x-ms-continuation", answer.next)
		}
		fmt.Fprint(w, answer.rows)
	})
	ids, err := allIDs(t.Context(), mustOpen(t, cfg), Devices, "tags.a = 1 OR tags.b = 2")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(ids).To(Equal(deviceIDs("a", "b", "c")))
}

func TestUnusableQueryAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ continuation, rows string }{
		"a row without deviceId on a later page": {"", `[{"x":"y"}]`},
		"a row that is null":                     {"", `[null]`},
		"a deviceId that is no text":             {"", `[{"deviceId":7}]`},
		"not an array":                           {"", `{"deviceId":"a"}`},
		"a page that continues with itself":      {"next", `[{"deviceId":"a"}]`},
		"a page that is too long":                {"", `[{"deviceId":"a","x":"` + strings.Repeat("a", maxPageBytes) + `"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			cfg := pretend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("x-ms-continuation") == "" {
					w.Header().Set("x-ms-continuation", "next")
					fmt.Fprint(w, `[{"deviceId":"first"}]`)
					return
				}
				if test.continuation != "" {
					w.Header().Set("x-ms-continuation", test.continuation)
				}
				fmt.Fprint(w, test.rows)
			})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			ids, err := allIDs(ctx, mustOpen(t, cfg), Devices, "true = true")
			g.Expect(asError(t, err).Reason).To(Equal(ReasonUnexpectedAnswer), "%v", err)
			g.Expect(OutcomeUnknown(err)).To(BeFalse(), "a query writes nothing")
			g.Expect(ids).To(BeNil())
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var reached atomic.Int32
	elsewhere := pretend(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	host, err := hostOf(elsewhere.ConnectionString)
	g.Expect(err).NotTo(HaveOccurred())
	for _, status := range []int{301, 302, 303, 307, 308, 300, 304} {
		for _, location := range []string{"https://" + host + "/twins/d1", "/other", "https://%zz", ""} {
			cfg := pretend(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/other" {
					reached.Add(1)
				}
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			})
			s := mustOpen(t, cfg)
			_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
			refused := asError(t, err)
			g.Expect(refused.Reason).To(Equal(ReasonUnexpectedAnswer), "%d %q: %v", status, location, err)
			g.Expect(refused.Error()).To(ContainSubstring("redirect"))
			_, err = s.PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": 1}})
			g.Expect(asError(t, err).Reason).To(Equal(ReasonUnexpectedAnswer))
		}
	}
	g.Expect(reached.Load()).To(BeZero())
}

func TestGuardKeepsCredentialsAtTheirHost(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	passed := 0
	chain := guard("my-hub.azure-devices.net")(roundTripper(func(*http.Request) (*http.Response, error) {
		passed++
		return httptest.NewRecorder().Result(), nil
	}))
	for url, allowed := range map[string]bool{
		"https://my-hub.azure-devices.net/twins/d1":      true,
		"http://my-hub.azure-devices.net/twins/d1":       false,
		"https://my-hub.azure-devices.net:8443/twins/d1": false,
		"https://user@my-hub.azure-devices.net/twins/d1": false,
		"https://evil.example/twins/d1":                  false,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		g.Expect(err).NotTo(HaveOccurred())
		res, err := chain.RoundTrip(req)
		if allowed {
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(res.Body.Close()).To(Succeed())
		} else {
			g.Expect(asError(t, err).Reason).To(Equal(ReasonHostNotAllowed), url)
		}
	}
	g.Expect(passed).To(Equal(1))
}

func TestAnAnswerMustComeInTimeAndWhole(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://h/", nil)
	g.Expect(err).NotTo(HaveOccurred())
	stuck := whole(20 * time.Millisecond)(roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(untilDone{req})}, nil
	}))
	_, err = stuck.RoundTrip(req) //nolint:bodyclose // there is none
	g.Expect(err).To(MatchError(context.DeadlineExceeded))
	reason, detail := transportReason(err)
	g.Expect(reason).To(Equal(ReasonUnreachable))
	g.Expect(detail).To(ContainSubstring("in time"))
}

// untilDone is the body of an answer that never ends by itself.
type untilDone struct{ request *http.Request }

func (b untilDone) Read([]byte) (int, error) {
	ctx := b.request.Context()
	<-ctx.Done()
	return 0, ctx.Err()
}

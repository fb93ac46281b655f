package hubemulator_test

import (
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// ask sends a request to the admin API that change makes that of another client.
func (h *hub) ask(t *testing.T, method, path, body string, change func(*http.Request)) int {
	t.Helper()
	request := must(http.NewRequestWithContext(t.Context(), method, h.server.AdminURL()+path, strings.NewReader(body)))
	change(request)
	answer, err := h.client.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }() // the status is all that is asked for
	return answer.StatusCode
}

const harmless = `{"operation":"query","action":"status","status":503}`

// A page in a browser on the same machine may send what looks like a form.
func TestAdminAPIWantsJSON(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for contentType, want := range map[string]int{
		"application/json": 201, "application/json; charset=utf-8": 201,
		"": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "text/plain; application/json": 415, "application/jsonp": 415,
	} {
		status := h.ask(t, http.MethodPost, "/faults", harmless, func(r *http.Request) {
			if contentType != "" {
				r.Header.Set("Content-Type", contentType)
			}
		})
		NewWithT(t).Expect(status).To(Equal(want), contentType)
	}
	for _, path := range []string{"/counters/reset", "/configurations/evaluate", "/snapshots"} {
		NewWithT(t).Expect(h.ask(t, http.MethodPost, path, "", func(*http.Request) {})).To(BeNumerically("<", 300), path)
	}
}

func TestAdminAPIRefusesPagesOfOthers(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1")
	for name, tt := range map[string]struct {
		header, value string
		want          int
	}{
		"another site":        {"Sec-Fetch-Site", "cross-site", 403},
		"another port":        {"Sec-Fetch-Site", "same-site", 403},
		"the address bar":     {"Sec-Fetch-Site", "none", 204},
		"another origin":      {"Origin", "https://example.com", 403},
		"the same origin":     {"Origin", "http://" + h.server.AdminAddress(), 204},
		"nothing of the kind": {"Accept", "*/*", 204},
	} {
		status := h.ask(t, http.MethodPost, "/counters/reset", "", func(r *http.Request) { r.Header.Set(tt.header, tt.value) })
		NewWithT(t).Expect(status).To(Equal(tt.want), name)
	}
}

func TestAdminAPIChecksTheHost(t *testing.T) {
	t.Parallel()
	h := startHubWith(t, hubemulator.Options{Hostname: "Hub.Example"})
	for host, want := range map[string]int{
		h.server.AdminAddress(): 200, "localhost:8444": 200, "127.0.0.1": 200, "[::1]:8444": 200, "10.1.2.3:8444": 200, "hub.example:8444": 200, "HUB.example": 200,
		"rebound.example": 403, "rebound.example:8444": 403, "localhost.example": 403, "": 200,
	} {
		for _, path := range []string{"/counters", "/healthz"} {
			NewWithT(t).Expect(h.ask(t, http.MethodGet, path, "", func(r *http.Request) { r.Host = host })).To(Equal(want), host)
		}
	}
}

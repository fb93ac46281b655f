package controllers_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
)

// unwritable is a way to the API server on which no write of a DeviceTwin arrives while
// it is cut.
type unwritable struct {
	http.RoundTripper
	cut, refused *atomic.Int64
}

func (u unwritable) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/devicetwins/") && u.cut.Load() > 0 {
		u.refused.Add(1)
		return nil, errors.New("connection refused")
	}
	return u.RoundTripper.RoundTrip(r)
}

// TestHubsAreNotReadForWhatCannotBeRecorded: while the API server takes no writes, each
// twin is read once at most.
func TestHubsAreNotReadForWhatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	const n = 10
	devices := numbered("dev", n)
	var cut, refused atomic.Int64
	w := newWorld(t, func(w *world) {
		w.hubOptions.Devices = devices
		w.wire = func(next http.RoundTripper) http.RoundTripper { return unwritable{next, &cut, &refused} }
	})
	w.connect()
	w.crowd("hub", devices)
	w.Eventually(func() int { return w.ready("hub") }, patience).Should(Equal(n))
	cut.Store(1)
	before := w.calls("getTwin")
	for _, device := range devices {
		w.anotherWriter(device, map[string]any{"plant": "Elsewhere"})
	}
	w.Eventually(refused.Load, patience, "20ms").Should(BeNumerically(">", 20*n), "it is tried again and again")
	w.Expect(w.calls("getTwin")-before).To(BeNumerically("<=", n+n), "anotherWriter reads each twin too")
	cut.Store(0)
	for _, device := range devices {
		w.Eventually(func() string { return w.tags(device) }, patience, "20ms").Should(ContainSubstring("Redmond43"))
	}
}

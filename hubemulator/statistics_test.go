package hubemulator_test

import (
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
)

func TestStatistics(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := startHub(t, "d1", "d2", "d3")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	h.ok(t, http.MethodPut, "/devices/d2", `{"status":"disabled"}`, "If-Match", "*")
	g.Expect(h.call(t, http.MethodGet, "/statistics/devices", "").text).To(
		MatchJSON(`{"totalDeviceCount":3,"enabledDeviceCount":2,"disabledDeviceCount":1}`))
	g.Expect(h.call(t, http.MethodGet, "/statistics/service", "").text).To(MatchJSON(`{"connectedDeviceCount":0}`))
}

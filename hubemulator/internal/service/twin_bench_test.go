package service

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/sas"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// BenchmarkTwin measures what the service API does for a request, apart from
// what any HTTPS server does.
func BenchmarkTwin(b *testing.B) {
	const devices = 1000
	hub := store.New(store.Options{HostNames: []string{"localhost"}, Clock: clock.RealClock{}})
	for i := range devices {
		id := store.ID{Device: fmt.Sprintf("device-%06d", i)}
		if _, err := hub.PutIdentity(id, "", []byte(`{}`)); err != nil {
			b.Fatal(err)
		}
		twin := fmt.Appendf(nil, `{"tags":{"location":{"region":"US","plant":"plant-%d"},"serial":%d},"properties":{"desired":`+
			`{"telemetry":{"interval":30,"unit":"celsius"},"firmware":{"version":"1.4.2","channel":"stable"},"power":1}}}`, i%100, i)
		if _, err := hub.PatchTwin(id, "", twin); err != nil {
			b.Fatal(err)
		}
		reported := `{"telemetry":{"interval":30,"unit":"celsius"},"firmware":{"version":"1.4.1","state":"current"},"connectivity":"cellular","battery":87}`
		if _, err := hub.Report(id, []byte(reported)); err != nil {
			b.Fatal(err)
		}
	}
	token, err := sas.New("localhost", hub.Policies()[0].PrimaryKey, hub.Policies()[0].Name, time.Now().Add(time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	handler := New(Config{Store: hub, Counters: &count.Set{}, Faults: &fault.Set{}, Clock: clock.RealClock{}})
	for _, bb := range []struct{ method, body string }{
		{http.MethodGet, ""},
		{http.MethodPatch, `{"tags":{"location":{"floor":3}},"properties":{"desired":{"telemetry":{"interval":17},"power":4}}}`},
	} {
		b.Run(bb.method, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				path := fmt.Sprintf("/twins/device-%06d?api-version=2021-04-12", i%devices)
				request := httptest.NewRequest(bb.method, path, strings.NewReader(bb.body))
				request.Header.Set("Authorization", token)
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, request)
				if recorder.Code != http.StatusOK {
					b.Fatal(recorder.Code, recorder.Body)
				}
			}
		})
	}
}

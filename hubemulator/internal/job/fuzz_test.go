package job

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// Whatever a client sends, it is refused in the hub's words or becomes a job
// that can be saved.
func FuzzCreate(f *testing.F) {
	for _, seed := range []string{
		`{"jobId":"j","type":"scheduleUpdateTwin","updateTwin":{"etag":"*","tags":{"a":null},"properties":{"desired":{"b":[1]}}},"queryCondition":"*"}`,
		`{"jobId":7,"type":"scheduleDeviceMethod","cloudToDeviceMethod":{"methodName":"m","payload":"é","connectTimeoutInSeconds":3},"queryCondition":"a = 1"}`,
		`{"type":"scheduleUpdateTwin","updateTwin":{"tags":{}},"queryCondition":"?","startTime":"2026-11-20T12:00:00+01:00","maxExecutionTimeInSeconds":1}`,
		`{"type":"scheduleUpdateTwin","updateTwin":{"etag":"AA=="},"startTime":"0001-01-01T00:00:00Z"}`,
	} {
		f.Add("j", seed)
	}
	f.Fuzz(func(t *testing.T, id, body string) {
		h := newHub(t)
		jobs := h.jobs(&fault.Set{})
		view, err := jobs.Create(id, []byte(body))
		if err != nil {
			if _, refused := errors.AsType[*store.Error](err); !refused {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if now := h.clock.Now(); view.Start.Sub(now) > 168*time.Hour || view.MaxSeconds < 1 || view.Status != Queued {
			t.Fatalf("%q became %+v", body, view)
		}
		for saved := range jobs.Saved() {
			text, err := json.Marshal(saved)
			if err != nil {
				t.Fatalf("%q: %v", body, err)
			}
			var again Job
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatalf("%q was saved as %s: %v", body, text, err)
			}
			saved.UpdateTwin, saved.Method, again.UpdateTwin, again.Method = nil, nil, nil, nil // their spaces go
			if diff := cmp.Diff(saved, again); diff != "" {
				t.Fatalf("%q: %s", body, diff)
			}
		}
	})
}

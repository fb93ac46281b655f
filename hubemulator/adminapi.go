package hubemulator

import (
	"context"
	"net/http"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/admin"
)

// adminAPI is the API for those who watch and disturb the hub, which is known by
// these names.
func (s *Server) adminAPI(names []string) http.Handler {
	return admin.New(admin.Config{
		Counters:      func() any { return s.Counters() },
		ResetCounters: s.counters.Reset,
		Metrics:       s.counters.Collector(),
		Faults:        &s.faults,
		Operations:    operations(),
		SendToDevice:  s.sendDocument,
		EvaluateConfigurations: func(ctx context.Context) (any, error) {
			return s.EvaluateConfigurations(ctx)
		},
		Snapshot: func() func(...string) error {
			snapshot := s.Snapshot()
			return func(deviceIDs ...string) error { return s.Restore(snapshot, deviceIDs...) }
		},
		Dial:      s.dialByName,
		HostNames: names,
	})
}

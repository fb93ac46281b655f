package hubemulator

import (
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/job"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/mqttfront"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/service"
)

// operations are what counters and faults go by.
func operations() []fault.Operation {
	return slices.Concat(service.Operations(), job.Operations(), mqttfront.Operations())
}

// Counters says how often each operation was called since the start or the
// last reset.
type Counters struct {
	// Operations holds an entry for each operation that was called, by its
	// name: getTwin and updateTwin, for instance, of the service API,
	// mqttConnect of devices, jobUpdateTwin of what jobs do to each of their
	// devices. AddFault lists all names when it is given an unknown one.
	Operations map[string]OperationCounters `json:"operations"`
	// Quota is the hub's daily quota; nil when the hub has none. It is not
	// reset with the counters, but at 00:00 UTC.
	Quota *Quota `json:"quota,omitempty"`
}

// Quota is what a hub of a tier may send and receive in a day, in billed
// messages of 4 KB (0.5 KB in tier F1).
type Quota struct {
	Limit int64 `json:"limit"`
	Used  int64 `json:"used"`
}

// OperationCounters counts one operation's calls, refused ones included.
type OperationCounters struct {
	Calls int64 `json:"calls"`
	// Statuses counts the calls by the status they were answered with: HTTP's,
	// or CONNACK's return code for mqttConnect. Calls that were never
	// answered, since their client went away, are under "0".
	Statuses map[string]int64 `json:"statuses"`
	// BilledMessages is what the calls cost of the daily quota of the hub's
	// tier, or would cost if it had one: a message for each 4 KB that was begun
	// (0.5 KB in tier F1). Refused calls cost nothing
	// unless Choices.RejectedCalls says so.
	BilledMessages int64 `json:"billedMessages"`
	// PeakConcurrency is the most calls that were worked on at the same time.
	// Calls that a fault or a throttle makes wait are among them, before they
	// show in Calls.
	PeakConcurrency int64 `json:"peakConcurrency"`
}

// Counters returns the counters as they are now.
func (s *Server) Counters() Counters {
	counters := Counters{Operations: map[string]OperationCounters{}}
	for name, counted := range s.counters.Snapshot() {
		counters.Operations[name] = OperationCounters(counted)
	}
	if quota, limited := s.limits.Quota(); limited {
		counters.Quota = &Quota{Limit: quota.Limit, Used: quota.Used}
	}
	return counters
}

// ResetCounters sets all counters back to zero. It does not touch the quota.
func (s *Server) ResetCounters() { s.counters.Reset() }

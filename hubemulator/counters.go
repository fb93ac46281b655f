package hubemulator

import "github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/service"

// The operations that counters and faults go by, besides those of the service
// API.
const (
	operationMQTTConnect  = "mqttConnect"
	operationTwinGet      = "mqttTwinGet"
	operationReported     = "mqttReportedPatch"
	operationNotification = "mqttDesiredNotification"
)

var operations = [...]string{
	service.GetTwin, service.UpdateTwin, service.ReplaceTwin, service.Query,
	service.GetDevice, service.PutDevice, service.DeleteDevice, service.ListDevices,
	operationMQTTConnect, operationTwinGet, operationReported, operationNotification,
}

// Counters says how often each operation was called since the start or the
// last reset.
type Counters struct {
	// Operations holds an entry for each operation that was called, by its
	// name: getTwin, updateTwin, replaceTwin, query, getDevice, putDevice,
	// deleteDevice, listDevices, mqttConnect, mqttTwinGet, mqttReportedPatch,
	// mqttDesiredNotification.
	Operations map[string]OperationCounters `json:"operations"`
}

// OperationCounters counts one operation's calls, refused ones included.
type OperationCounters struct {
	Calls int64 `json:"calls"`
	// Statuses counts the calls by the status they were answered with: HTTP's,
	// or CONNACK's return code for mqttConnect. Calls that were never
	// answered, since their client went away, are under "0".
	Statuses map[string]int64 `json:"statuses"`
}

// Counters returns the counters as they are now.
func (s *Server) Counters() Counters {
	counters := Counters{Operations: map[string]OperationCounters{}}
	for name, counted := range s.counters.Snapshot() {
		counters.Operations[name] = OperationCounters(counted)
	}
	return counters
}

func (s *Server) countersDocument() any { return s.Counters() }

// ResetCounters sets all counters back to zero.
func (s *Server) ResetCounters() { s.counters.Reset() }

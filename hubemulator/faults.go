package hubemulator

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
)

// The actions of a Fault.
const (
	// FaultHold makes a request wait, before it is applied, until the fault is
	// removed; then it is processed normally. If its client goes away first,
	// it is dropped.
	FaultHold = string(fault.Hold)
	// FaultHang is another name for FaultHold.
	FaultHang = string(fault.Hang)
	// FaultQueue is FaultHold for requests of the service API, but the request
	// stays in the hub when its client goes away: once the fault is removed it is
	// applied all the same, as IoT Hub does with requests that it queues.
	FaultQueue = string(fault.Queue)
	// FaultDelay makes a request wait for Delay before it is applied.
	FaultDelay = string(fault.Delay)
	// FaultStatus refuses a request with Status and ErrorCode.
	FaultStatus = string(fault.Status)
	// FaultReset resets the connection of a request without applying it.
	FaultReset = string(fault.Reset)
	// FaultDropAnswer applies a request, then cuts the connection instead of
	// answering.
	FaultDropAnswer = string(fault.DropAnswer)
	// FaultTruncated applies a request, then cuts the connection in the middle
	// of the answer.
	FaultTruncated = string(fault.Truncated)
	// FaultStaleRead answers a read of a twin, such as getTwin and mqttTwinGet,
	// with the twin as it was before its last write.
	FaultStaleRead = string(fault.StaleRead)
	// FaultIndexStall answers queries from the index as it was when the fault
	// was added: what is created, changed and deleted meanwhile shows only when
	// the fault is removed. It is for operation "query" without a device.
	FaultIndexStall = string(fault.IndexStall)
	// FaultMQTTDrop cuts the MQTT connections of the device that a request of
	// the service API is about, and of its modules; the request is processed
	// normally then. Of a request over MQTT it cuts the connection that it came
	// by, without applying it.
	FaultMQTTDrop = string(fault.MQTTDrop)

	// FaultAnyOperation as a Fault's Operation matches all of them.
	FaultAnyOperation = fault.AnyOperation
)

// Fault disturbs the requests it matches. The oldest matching fault wins.
type Fault struct {
	// Operation is one of the names in Counters, or FaultAnyOperation.
	Operation string
	// DeviceID restricts the fault to one device; empty means any.
	DeviceID string
	// Probability is the share of the matching requests that the fault applies
	// to, above 0 and up to 1. 0 means all of them. Options.FaultSeed decides
	// which they are.
	Probability float64
	// Count is how many requests the fault applies to; 0 means no limit.
	Count int
	// Action is one of the constants whose names begin with Fault.
	Action string
	// Delay is how long FaultDelay makes requests wait, by the hub's clock.
	Delay time.Duration
	// Status is the HTTP status of FaultStatus, 400 to 599.
	Status int
	// ErrorCode is the hub's symbolic code for FaultStatus, for instance
	// "ServerBusy". Empty means the usual one for Status.
	ErrorCode string
}

// AddFault puts a fault in force and returns an id for RemoveFault.
func (s *Server) AddFault(f Fault) (string, error) {
	return s.faults.Add(fault.Rule{
		Operation: f.Operation, DeviceID: f.DeviceID, Probability: f.Probability, Count: f.Count,
		Action: fault.Action(f.Action), Delay: fault.Duration(f.Delay), Status: f.Status, ErrorCode: f.ErrorCode,
	}, operations())
}

// RemoveFault ends a fault and lets go the requests it holds or delays. An
// unknown id is ignored.
func (s *Server) RemoveFault(id string) { s.faults.Remove(id) }

// FaultState is a fault in force and what it has done so far.
type FaultState struct {
	Fault
	// ID is what RemoveFault takes.
	ID string
	// Hits is how many requests the fault has applied to.
	Hits int
	// Held is how many requests are waiting right now.
	Held int
}

// Faults lists the faults in force, oldest first.
func (s *Server) Faults() []FaultState {
	var out []FaultState
	for _, r := range s.faults.List() {
		out = append(out, FaultState{
			Fault: Fault{
				Operation: r.Operation, DeviceID: r.DeviceID, Probability: r.Probability, Count: r.Count,
				Action: string(r.Action), Delay: time.Duration(r.Delay), Status: r.Status, ErrorCode: r.ErrorCode,
			},
			ID: r.ID, Hits: r.Hits, Held: r.Held,
		})
	}
	return out
}

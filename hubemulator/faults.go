package hubemulator

import "github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"

// The actions of a Fault.
const (
	// FaultHold makes a request wait, before it is applied, until the fault is
	// removed; then it is processed normally. If its client goes away first,
	// it is dropped.
	FaultHold = string(fault.Hold)
	// FaultStatus refuses a request with Status and ErrorCode.
	FaultStatus = string(fault.Status)
	// FaultDropAnswer applies a request, then cuts the connection instead of
	// answering.
	FaultDropAnswer = string(fault.DropAnswer)
)

// Fault disturbs the requests it matches. The oldest matching fault wins.
type Fault struct {
	// Operation is one of the names in Counters.
	Operation string
	// DeviceID restricts the fault to one device; empty means any.
	DeviceID string
	// Count is how many requests the fault applies to; 0 means no limit.
	Count int
	// Action is FaultHold, FaultStatus or FaultDropAnswer.
	Action string
	// Status is the HTTP status of FaultStatus, 400 to 599.
	Status int
	// ErrorCode is the hub's symbolic code for FaultStatus, for instance
	// "ServerBusy". Empty means the usual one for Status.
	ErrorCode string
}

// AddFault puts a fault in force and returns an id for RemoveFault.
func (s *Server) AddFault(f Fault) (string, error) {
	return s.faults.Add(fault.Rule{
		Operation: f.Operation, DeviceID: f.DeviceID, Count: f.Count,
		Action: fault.Action(f.Action), Status: f.Status, ErrorCode: f.ErrorCode,
	}, operations[:])
}

// RemoveFault ends a fault and lets go the requests it holds. An unknown id is
// ignored.
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
				Operation: r.Operation, DeviceID: r.DeviceID, Count: r.Count,
				Action: string(r.Action), Status: r.Status, ErrorCode: r.ErrorCode,
			},
			ID: r.ID, Hits: r.Hits, Held: r.Held,
		})
	}
	return out
}

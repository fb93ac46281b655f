package fault

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Action is what happens to a request that a rule applies to.
type Action string

const (
	// Hold makes the request wait, before it is applied, until the rule is
	// removed; then it is processed normally.
	Hold Action = "hold"
	// Hang is another name for Hold.
	Hang Action = "hang"
	// Queue is Hold, but the request stays in the hub when its client goes away:
	// once the rule is removed it is applied all the same. It is for requests of
	// the service API.
	Queue Action = "queue"
	// Delay makes the request wait for the rule's delay, before it is applied.
	Delay Action = "delay"
	// Status refuses the request with the rule's status, without applying it.
	Status Action = "status"
	// Reset resets the connection, without applying the request.
	Reset Action = "reset"
	// DropAnswer applies the request and then cuts the connection.
	DropAnswer Action = "dropAnswer"
	// Truncated applies the request and cuts the connection in the middle of
	// the answer.
	Truncated Action = "truncated"
	// StaleRead answers a read of a twin with the twin as it was before its
	// last write.
	StaleRead Action = "staleRead"
	// IndexStall answers a query from the index as it was when the rule was
	// added: what was created, changed and deleted since does not show.
	IndexStall Action = "indexStall"
	// MQTTDrop cuts the device's MQTT connection. A request of the service API
	// is then processed normally; one over MQTT ends with its connection,
	// without being applied.
	MQTTDrop Action = "mqttDrop"
	// None lets the request pass.
	None Action = ""
)

// AnyOperation as a rule's operation matches all of them.
const AnyOperation = "*"

// Duration is a length of time that JSON holds as text, for instance "1.5s".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("the delay %q is not a duration; write for instance 250ms or 1.5s", text)
	}
	*d = Duration(parsed)
	return nil
}

// Rule says which requests are disturbed, and how.
type Rule struct {
	ID        string `json:"id,omitempty"`
	Operation string `json:"operation"`
	// DeviceID restricts the rule to one device; empty means any.
	DeviceID string `json:"deviceId,omitempty"`
	// Probability is the share of the matching requests that the rule applies
	// to, chosen at random; 0 means all of them.
	Probability float64 `json:"probability,omitempty"`
	// Count is how many requests the rule applies to; 0 means no limit.
	Count  int    `json:"count"`
	Action Action `json:"action"`
	// Delay is how long action "delay" waits.
	Delay Duration `json:"delay,omitempty"`
	// Status and ErrorCode are the answer of action "status".
	Status    int    `json:"status,omitempty"`
	ErrorCode string `json:"errorCode,omitempty"`
	// Hits is how many requests the rule has applied to so far, and Held how
	// many of them are waiting right now. Both are ignored on input.
	Hits int `json:"hits"`
	Held int `json:"held"`
}

func (a Action) waits() bool { return a == Hold || a == Hang || a == Queue || a == Delay }

var actions = [...]Action{Hold, Hang, Queue, Delay, Status, Reset, DropAnswer, Truncated, StaleRead, IndexStall, MQTTDrop}

// Operation is one that rules may be about, and what of it they have to know.
type Operation struct {
	Name string
	// ReadsTwin says that StaleRead makes sense for it.
	ReadsTwin bool
	// Queries says that IndexStall makes sense for it.
	Queries bool
	// OverMQTT says that it comes by the MQTT connection of a device.
	OverMQTT bool
}

func namesOf(operations []Operation, wanted func(Operation) bool) []string {
	var names []string
	for _, operation := range operations {
		if wanted(operation) {
			names = append(names, operation.Name)
		}
	}
	return names
}

func (r Rule) validate(operations []Operation) error {
	names := namesOf(operations, func(Operation) bool { return true })
	switch {
	case r.Operation != AnyOperation && !slices.Contains(names, r.Operation):
		return fmt.Errorf("operation %q is unknown; use one of %q, or %q for all", r.Operation, names, AnyOperation)
	case r.Count < 0:
		return fmt.Errorf("count %d is negative; use 0 for no limit", r.Count)
	case !(r.Probability >= 0 && r.Probability <= 1): // also catches what is not a number
		return fmt.Errorf("probability %v is not one; use 0 to 1, where 0 means always", r.Probability)
	case !slices.Contains(actions[:], r.Action):
		return fmt.Errorf("action %q is unknown; use one of %q", r.Action, actions)
	}
	if err := r.validateAction(); err != nil {
		return err
	}
	return r.validateSubject(operations)
}

func (r Rule) validateAction() error {
	switch {
	case r.Action == Status && (r.Status < 400 || r.Status > 599):
		return fmt.Errorf("status %d is no failure; use %d to 599", r.Status, http.StatusBadRequest)
	case r.Action == Delay && r.Delay <= 0:
		return errors.New(`action "delay" needs a delay, for instance "250ms"`)
	}
	return nil
}

// validateSubject checks that the action makes sense for what the rule is about.
func (r Rule) validateSubject(operations []Operation) error {
	var about Operation // of AnyOperation too: none of it holds for all
	if i := slices.IndexFunc(operations, func(o Operation) bool { return o.Name == r.Operation }); i >= 0 {
		about = operations[i]
	}
	switch {
	case r.Action == Queue && (r.Operation == AnyOperation || about.OverMQTT):
		return fmt.Errorf("action %q is for an operation of the service API", r.Action)
	case r.Action == StaleRead && !about.ReadsTwin:
		return fmt.Errorf("action %q is for reads of a twin; use one of the operations %q",
			r.Action, namesOf(operations, func(o Operation) bool { return o.ReadsTwin }))
	case r.Action == IndexStall && (!about.Queries || r.DeviceID != ""):
		return fmt.Errorf("action %q is for queries, which are about no single device; use the operation %q and no deviceId",
			r.Action, strings.Join(namesOf(operations, func(o Operation) bool { return o.Queries }), ", "))
	case r.Action == MQTTDrop && r.DeviceID == "" && !about.OverMQTT:
		return fmt.Errorf("action %q needs a deviceId, or an operation of a device, to know whose connection to cut", r.Action)
	}
	return nil
}

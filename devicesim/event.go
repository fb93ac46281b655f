package devicesim

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// EventKind tells what an Event is about.
type EventKind string

const (
	// EventConnected says that the hub accepted the device.
	EventConnected EventKind = "Connected"
	// EventDisconnected says that the connection ended, from either side.
	EventDisconnected EventKind = "Disconnected"
	// EventDesired says that one top-level desired property changed.
	EventDesired EventKind = "Desired"
	// EventReported says that the hub accepted a report.
	EventReported EventKind = "Reported"
)

// Event is one thing that happened to the device.
type Event struct {
	Kind EventKind

	// HostName and DeviceID are set when Kind is EventConnected.
	HostName, DeviceID string

	// Property is the desired property that changed.
	Property string

	// Value is the new value of the desired property, nil when it was removed;
	// or the report that was sent. Compact JSON.
	Value json.RawMessage

	// Version is the $version of the desired or reported section after the
	// change. 0 means that the hub did not say.
	Version int64
}

// String is the event as devicesim prints it.
func (e Event) String() string {
	switch e.Kind {
	case EventConnected:
		return fmt.Sprintf("connected to %s as %s", e.HostName, e.DeviceID)
	case EventDisconnected:
		return "disconnected"
	case EventDesired:
		value := "removed"
		if e.Value != nil {
			value = string(e.Value)
		}
		return fmt.Sprintf("desired %s: %s ($version %s)", e.Property, value, e.version())
	case EventReported:
		return fmt.Sprintf("reported %s ($version %s)", e.Value, e.version())
	default:
		return string(e.Kind)
	}
}

func (e Event) version() string {
	if e.Version == 0 {
		return "unknown"
	}
	return strconv.FormatInt(e.Version, 10)
}

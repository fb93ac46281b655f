package fleet

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
)

// Verdict is what a device that was written has made of it.
type Verdict int

// The verdicts.
const (
	// Pending: it is connected, and has time left.
	Pending Verdict = iota
	Accepted
	Rejected
	// TimedOut: it is connected, and has not acknowledged in time.
	TimedOut
	// Absent: it has not acknowledged, and is not connected.
	Absent
)

// Answer is what a device says of what is declared.
type Answer struct {
	Declared, Reported map[string]any
	Stamps             twin.Stamps
	Connected          bool
}

// Judge says what a device has made of what is declared, within a time from when the hub had it.
// The text says more of one that failed.
func Judge(a Answer, within time.Duration, now time.Time) (Verdict, string) {
	said := twin.Acknowledge(a.Declared, a.Stamps, a.Reported)
	switch {
	case len(said.Pending) == 0:
		return Accepted, ""
	case len(said.Rejected) > 0:
		return Rejected, "refused " + said.Rejected[0].String()
	case !a.Connected:
		return Absent, ""
	case !said.PendingSince.IsZero() && now.Sub(said.PendingSince) > within:
		return TimedOut, "has not acknowledged " + said.Pending.String()
	}
	return Pending, ""
}

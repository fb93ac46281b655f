package main

import (
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/devicesim"
)

// TestPumpsRememberWhatTheyWereTold, down to a value that was taken back.
func TestPumpsRememberWhatTheyWereTold(t *testing.T) {
	t.Parallel()
	p := newPumps()
	told := func(id, value string) {
		p.take(id, devicesim.Event{Kind: devicesim.EventDesired, Property: pumpProperty, Value: []byte(value)})
		p.take(id, devicesim.Event{Kind: devicesim.EventReported, Value: []byte(`{"speed":` + value + `}`)})
	}
	p.take("canary-1", devicesim.Event{Kind: devicesim.EventConnected})
	p.take("pump-1", devicesim.Event{Kind: devicesim.EventConnected})
	p.take("pump-1", devicesim.Event{Kind: devicesim.EventDisconnected})
	if got := p.here(); got != 1 {
		t.Errorf("%d are connected, want 1", got)
	}
	for _, speed := range []string{"10", "12", "10"} {
		told("canary-1", speed)
	}
	p.take("pump-1", devicesim.Event{Kind: devicesim.EventDesired, Property: pumpProperty, Value: []byte("10")})
	p.take("pump-1", devicesim.Event{Kind: devicesim.EventDesired, Property: "other", Value: []byte("12")})
	if told, reported := p.at("10"); told != 2 || reported != 1 {
		t.Errorf("%d were told 10 last and %d report it, want 2 and 1", told, reported)
	}
	if told, _ := p.at("12"); told != 0 {
		t.Errorf("%d were told 12 last, want none", told)
	}
	if canaries, others := p.everHeard("12", canaryKind); canaries != 1 || others != 0 {
		t.Errorf("%d canaries and %d others heard of 12, want 1 and none", canaries, others)
	}
}

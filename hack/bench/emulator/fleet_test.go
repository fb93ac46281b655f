package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

const writers = 16

func startFleet(t *testing.T, devices, changes int) (*fleet, *target, *hubemulator.Server) {
	t.Helper()
	if err := allowFiles(2*devices + writers); err != nil { // both ends are in this process
		t.Fatal(err)
	}
	hub, err := hubemulator.Start(t.Context(), hubemulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	reached, err := emulatorServer{hub}.serving()
	if err != nil {
		t.Fatal(err)
	}
	client, err := newTarget(reached, reached.Service, writers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.HTTP.CloseIdleConnections)
	return &fleet{Devices: devices, Changes: changes, progress: t.Logf}, client, hub
}

func noRSS() (int, error) { return 0, nil }

// Every device gets every change once and in order, and the hub every report,
// while all are connected. `make bench-emulator` does the same with 5,000.
func TestFleet(t *testing.T) {
	t.Parallel()
	f, client, hub := startFleet(t, 200, 10)
	if err := f.run(t.Context(), client, writers, noRSS); err != nil {
		t.Fatal(err)
	}
	want := fleet{Devices: 200, Changes: 10}
	if diff := cmp.Diff(want, *f, cmpopts.IgnoreUnexported(fleet{}), cmpopts.IgnoreFields(fleet{}, "ConnectSeconds", "ExchangeSeconds")); diff != "" {
		t.Errorf("the fleet (-want +got):\n%s", diff)
	}
	counted := hub.Counters().Operations
	for operation, calls := range map[string]int64{
		"mqttConnect": 200, "updateTwin": 2000, "mqttDesiredNotification": 2000, "mqttReportedPatch": 2000, "mqttTwinGet": 200,
	} {
		if counted[operation].Calls != calls {
			t.Errorf("%s was called %d times, not %d", operation, counted[operation].Calls, calls)
		}
	}
}

// What goes wrong is noticed.
func TestFleetNotices(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault hubemulator.Fault
		want  fleet
	}{
		"a change that does not come": {
			hubemulator.Fault{Operation: "mqttDesiredNotification", DeviceID: fleetID(1), Action: hubemulator.FaultStatus, Status: 500, Count: 1},
			fleet{Wrong: 1},
		},
		"a report that is refused": {
			hubemulator.Fault{Operation: "mqttReportedPatch", DeviceID: fleetID(2), Action: hubemulator.FaultStatus, Status: 500, Count: 1},
			fleet{Wrong: 1},
		},
		"a connection that is cut": {
			hubemulator.Fault{Operation: "mqttReportedPatch", DeviceID: fleetID(0), Action: hubemulator.FaultReset, Count: 1},
			fleet{Lost: 1},
		},
		"a twin without the last report": {
			hubemulator.Fault{Operation: "mqttTwinGet", DeviceID: fleetID(0), Action: hubemulator.FaultStaleRead},
			fleet{Wrong: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, client, hub := startFleet(t, 3, 4)
			if _, err := hub.AddFault(test.fault); err != nil {
				t.Fatal(err)
			}
			if err := f.run(t.Context(), client, writers, noRSS); err != nil {
				t.Fatal(err)
			}
			if f.Wrong != test.want.Wrong || f.Lost != test.want.Lost {
				t.Errorf("%d devices with wrong versions and %d connections lost, want %d and %d",
					f.Wrong, f.Lost, test.want.Wrong, test.want.Lost)
			}
		})
	}
}

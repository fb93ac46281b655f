package hubemulator_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func ExampleStart() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	hub, err := hubemulator.Start(ctx, hubemulator.Options{Devices: []string{"thermostat-1"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = hub.Close() }()

	// A client needs these two, and a device the latter two:
	// hub.ServiceConnectionString("service"), hub.CACertificatePEM(),
	// hub.DeviceConnectionString("thermostat-1").
	text, err := hub.TwinJSON("thermostat-1")
	if err != nil {
		fmt.Println(err)
		return
	}
	var twin struct{ DeviceID, Etag string }
	if err := json.Unmarshal(text, &twin); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(twin.DeviceID, twin.Etag)
	// Output: thermostat-1 AAAAAAAAAAE=
}

package hubemulator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
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

func ExampleServer_Issuer() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const principal = "b0000000-0000-4000-8000-000000000001"
	hub, err := hubemulator.Start(ctx, hubemulator.Options{
		Issuer:     &issuer.Options{},
		EntraRoles: map[string][]string{principal: {"IoT Hub Twin Contributor"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = hub.Close() }()

	// A client sends this as "Authorization: Bearer ...".
	token, err := hub.Issuer().Mint(issuer.Token{ObjectID: principal})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.Count(token, "."))
	// Output: 2
}

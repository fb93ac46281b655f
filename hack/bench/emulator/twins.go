package main

import (
	"fmt"
)

// plants is how many plants the devices are spread over: a query for one finds
// the hundredth part of them.
const plants = 100

func deviceID(i int) string { return fmt.Sprintf("device-%06d", i) }

// registryEntry creates a device with a twin of the usual size: about a dozen
// properties, and 2 KB as the service shows it once the device has reported.
func registryEntry(i int) map[string]any {
	return map[string]any{
		"id": deviceID(i), "importMode": "create",
		"tags": map[string]any{
			"location": map[string]any{"region": "US", "plant": fmt.Sprintf("plant-%d", i%plants)},
			"serial":   i,
		},
		"properties": map[string]any{"desired": map[string]any{
			"telemetry": map[string]any{"interval": 30, "unit": "celsius"},
			"firmware":  map[string]any{"version": "1.4.2", "channel": "stable"},
			"power":     1,
		}},
	}
}

func reportedBody(i int) []byte {
	return fmt.Appendf(nil, `{"telemetry":{"interval":30,"unit":"celsius"},"firmware":{"version":"1.4.1","state":"current"},`+
		`"connectivity":"cellular","battery":%d}`, i%100)
}

func patchBody(i int) []byte {
	return fmt.Appendf(nil, `{"tags":{"location":{"floor":%d}},"properties":{"desired":{"telemetry":{"interval":%d},"power":%d}}}`,
		i%9, i%60, i%10)
}

// The queries by tag: one page of those that a hundredth of the devices are
// on, and one that looks at all devices in vain.
var (
	pageQuery = queryBody("SELECT * FROM devices WHERE tags.location.plant = 'plant-7'")
	vainQuery = queryBody("SELECT * FROM devices WHERE tags.location.plant = 'elsewhere'")
)

func queryBody(text string) []byte { return fmt.Appendf(nil, `{"query":%q}`, text) }

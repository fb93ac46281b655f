package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// namespace holds all objects.
const namespace = "default"

// deviceKey is the key of every device here. It protects nothing.
const deviceKey = "AAECAwQFBgcICQoLDA0ODw=="

// The sets of devices: those of the fleet, and those that come to it later.
const (
	fleetSet = "twin"
	moreSet  = "more"
)

// deviceID is the id of a device, and the name of its DeviceTwin; i counts from 1, as
// the emulator's fleets do.
func deviceID(set string, i int) string { return fmt.Sprintf("%s-%d", set, i) }

// slots is how many values tags.slot has: a query for one finds a small part of a
// fleet, one page at most.
const slots = 250

// tags and desired are 1 KB of JSON together, of the usual kinds.
func tags(i int) map[string]any {
	return map[string]any{
		"location": map[string]any{"region": "US", "plant": fmt.Sprintf("plant-%02d", i%40), "floor": i % 9, "line": fmt.Sprintf("line-%02d", i%12)},
		"serial":   fmt.Sprintf("SN-%08d", i), "owner": "maintenance-west", "slot": i % slots,
		"site":     "Building 43, Redmond campus, north entrance, second machine room",
		"contract": map[string]any{"level": "gold", "until": "2029-12-31", "customer": "Contoso Manufacturing"},
	}
}

func desired(i int) map[string]any {
	return map[string]any{
		"telemetry": map[string]any{
			"interval": 30, "unit": "celsius", "channels": []any{"temperature", "humidity", "pressure", "vibration"}, "compress": true,
		},
		"firmware": map[string]any{
			"version": "1.4.2", "channel": "stable", "window": "02:00-04:00",
			"url": "https://firmware.example.com/thermostat/1.4.2/thermostat-arm64.swu",
		},
		"network":    map[string]any{"apn": "iot.example.net", "roaming": false, "retry": map[string]any{"first": 5, "longest": 300, "factor": 2}},
		"thresholds": map[string]any{"low": -10, "high": 45.5, "alarm": map[string]any{"low": -20, "high": 60.25, "delay": 15}},
		"display":    map[string]any{"brightness": 70, "language": "en-US", "night": map[string]any{"from": "22:00", "to": "06:00"}},
		"power":      i%10 + 1,
		"log":        map[string]any{"level": "info", "days": 14, "upload": "daily", "filter": "not debug, not trace"},
		"peers":      []any{"gateway-01.plant.example.com", "gateway-02.plant.example.com"},
	}
}

// document is a part of a twin as an object holds it, and as a hub takes it.
func document(content map[string]any) *runtime.RawExtension {
	text, err := json.Marshal(content)
	if err != nil {
		panic(err) // strings, numbers and lists of them always marshal
	}
	return &runtime.RawExtension{Raw: text}
}

// twinPatch is what brings a twin to what its DeviceTwin declares.
func twinPatch(i int) []byte {
	return document(map[string]any{"tags": tags(i), "properties": map[string]any{"desired": desired(i)}}).Raw
}

func deviceTwin(hub, set string, i int) *v1alpha1.DeviceTwin {
	return &v1alpha1.DeviceTwin{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: deviceID(set, i)},
		Spec: v1alpha1.DeviceTwinSpec{
			HubRef: v1alpha1.HubReference{Name: hub}, DeviceID: deviceID(set, i),
			Tags: document(tags(i)), Desired: document(desired(i)),
			// The fleet's devices acknowledge nothing: that this is late is no part of a row.
			AcknowledgeTimeout: metav1.Duration{Duration: 24 * time.Hour},
		},
	}
}

// writeFleet writes the file from which an emulator makes its devices: so many of
// each set.
func writeFleet(dir string, sets map[string]int) (string, error) {
	devices := []any{}
	for set, count := range sets {
		made := map[string]any{
			"id": set + "-{{n}}", "count": count,
			"authentication": map[string]any{"symmetricKey": map[string]any{"primaryKey": deviceKey, "secondaryKey": deviceKey}},
		}
		if slices.Contains([]string{lineDevices, cellDevices, bareDevices}, set) {
			made["tags"] = setTags(set)
			// None of them connects, and a million keys take their time.
			made["authentication"] = map[string]any{"type": "certificateAuthority"}
		}
		devices = append(devices, made)
	}
	text, err := yaml.Marshal(map[string]any{"devices": devices})
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "fleet.yaml")
	return path, os.WriteFile(path, text, 0o600)
}

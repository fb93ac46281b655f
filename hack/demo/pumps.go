package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/devicesim"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/sas"
)

const (
	// The devices of the step about a production line, by their kinds.
	canaryKind, canaries  = "canary", 10
	otherKind, otherPumps = "pump", 190
	allPumps              = canaries + otherPumps
	pumpLine              = 7
	pumpProperty          = "speed"
	pumpKey               = "AAECAwQFBgcICQoLDA0ODw==" // it protects nothing
)

// pumps are the devices of a production line, each with an MQTT connection of its own, and
// what they have heard.
type pumps struct {
	mu sync.Mutex
	// connected are those that the hub has accepted.
	connected map[string]bool
	// told is what each was told last, reported what it acknowledged last.
	told, reported map[string]string
	// heard are all values that devices were told, with the devices.
	heard map[string]map[string]bool
}

func newPumps() *pumps {
	return &pumps{connected: map[string]bool{}, told: map[string]string{}, reported: map[string]string{}, heard: map[string]map[string]bool{}}
}

// writePumps writes the file from which the hub makes them.
func writePumps(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	kind := func(name, ring string, count int) map[string]any {
		return map[string]any{
			"id": name + "-{{n}}", "count": count, "tags": map[string]any{"line": pumpLine, "ring": ring},
			"authentication": map[string]any{"symmetricKey": map[string]any{"primaryKey": pumpKey, "secondaryKey": pumpKey}},
		}
	}
	content, err := yaml.Marshal(map[string]any{"devices": []any{kind(canaryKind, "canary", canaries), kind(otherKind, "stable", otherPumps)}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "pumps.yaml")
	return file, os.WriteFile(file, content, 0o600)
}

// startPumps has all of them connect. They run until the context ends.
func (s *story) startPumps(ctx context.Context) (*pumps, error) {
	ca, err := os.ReadFile(s.emulator.CAFile())
	if err != nil {
		return nil, err
	}
	service, err := sas.Parse(s.emulator.Service)
	if err != nil {
		return nil, err
	}
	p := newPumps()
	var failed error
	for kind, count := range map[string]int{canaryKind: canaries, otherKind: otherPumps} {
		for i := range count {
			id := fmt.Sprintf("%s-%d", kind, i+1)
			device, err := devicesim.New(devicesim.Options{
				ConnectionString: fmt.Sprintf("HostName=%s;DeviceId=%s;SharedAccessKey=%s", service.Host, id, pumpKey),
				CA:               ca, MQTTAddress: s.emulator.Addresses.MQTT,
				OnEvent: func(event devicesim.Event) { p.take(id, event) },
			})
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			// It returns nothing but nil: what it cannot do shows in what it has not heard.
			go func() { _ = device.Run(ctx) }()
		}
	}
	return p, failed
}

// take notes what happened to a device.
func (p *pumps) take(id string, event devicesim.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch event.Kind {
	case devicesim.EventConnected:
		p.connected[id] = true
	case devicesim.EventDisconnected:
		delete(p.connected, id)
	case devicesim.EventDesired:
		if event.Property != pumpProperty {
			return
		}
		value := string(event.Value)
		p.told[id] = value
		if p.heard[value] == nil {
			p.heard[value] = map[string]bool{}
		}
		p.heard[value][id] = true
	case devicesim.EventReported:
		var report map[string]json.RawMessage
		if json.Unmarshal(event.Value, &report) == nil && report[pumpProperty] != nil {
			p.reported[id] = string(report[pumpProperty])
		}
	}
}

// here is how many are connected.
func (p *pumps) here() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.connected)
}

// at is how many were told a value last, and how many report it.
func (p *pumps) at(value string) (told, reported int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, last := range p.told {
		if last != value {
			continue
		}
		told++
		if p.reported[id] == value {
			reported++
		}
	}
	return told, reported
}

// everHeard counts the devices of a kind that were ever told a value, and all others.
func (p *pumps) everHeard(value, kind string) (ofKind, others int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.heard[value] {
		if strings.HasPrefix(id, kind+"-") {
			ofKind++
		} else {
			others++
		}
	}
	return ofKind, others
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// emulator is the running hubemulator: what it wrote when it was ready, and
// its admin listener.
type emulator struct {
	dir     string
	process *process
	connections
	admin *http.Client
}

// connections is the emulator's connections.json.
type connections struct {
	Service   string            `json:"service"`
	Policies  map[string]string `json:"policies"`
	Devices   map[string]string `json:"devices"`
	Addresses struct {
		MQTT  string `json:"mqtt"`
		Admin string `json:"admin"`
	} `json:"addresses"`
}

func startEmulator(ctx context.Context, sup *supervisor, path, dir string, devices ...string) (*emulator, error) {
	args := []string{
		"--https-address", "127.0.0.1:0", "--mqtt-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0",
		"--hostname", "localhost", "--data-dir", dir,
	}
	for _, device := range devices {
		args = append(args, "--device", device)
	}
	p, err := sup.start("hubemulator", path, args...)
	if err != nil {
		return nil, err
	}
	e := &emulator{dir: dir, process: p, admin: &http.Client{Timeout: hubTimeout}}
	if err := p.waitFor(ctx, func(context.Context) error { return e.readConnections() }); err != nil {
		return nil, err
	}
	return e, p.guard()
}

func (e *emulator) caFile() string { return filepath.Join(e.dir, "ca.crt") }

// readConnections succeeds once the emulator is ready: it writes this file
// last.
func (e *emulator) readConnections() error {
	content, err := os.ReadFile(filepath.Join(e.dir, "connections.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, &e.connections); err != nil {
		// Not the error itself: it could quote a key.
		return errors.New("connections.json is not valid JSON")
	}
	return nil
}

// operationCount is how often an operation was called, and with what results.
type operationCount struct {
	Calls    int            `json:"calls"`
	Statuses map[string]int `json:"statuses"`
}

// counters returns the calls per operation since the emulator started.
func (e *emulator) counters(ctx context.Context) (map[string]operationCount, error) {
	var answer struct {
		Operations map[string]operationCount `json:"operations"`
	}
	err := e.call(ctx, http.MethodGet, "counters", nil, &answer)
	return answer.Operations, err
}

// hold makes the emulator hold every twin update before it is applied.
func (e *emulator) hold(ctx context.Context) (id string, err error) {
	var answer struct {
		ID string `json:"id"`
	}
	rule := map[string]any{"operation": "updateTwin", "action": "hold"}
	err = e.call(ctx, http.MethodPost, "faults", rule, &answer)
	return answer.ID, err
}

// held returns how many requests the rule holds right now.
func (e *emulator) held(ctx context.Context, id string) (int, error) {
	var rules []struct {
		ID   string `json:"id"`
		Held int    `json:"held"`
	}
	if err := e.call(ctx, http.MethodGet, "faults", nil, &rules); err != nil {
		return 0, err
	}
	for _, rule := range rules {
		if rule.ID == id {
			return rule.Held, nil
		}
	}
	return 0, fmt.Errorf("the emulator does not list fault %q", id)
}

func (e *emulator) removeFault(ctx context.Context, id string) error {
	return e.call(ctx, http.MethodDelete, "faults/"+id, nil, nil)
}

func (e *emulator) call(ctx context.Context, method, path string, body, into any) error {
	request, err := newRequest(ctx, method, "http://"+e.Addresses.Admin+"/emulator/"+path, body)
	if err != nil {
		return err
	}
	return exchange(e.admin, request, into)
}

// startDevicesim starts the simulated device.
func (e *emulator) startDevicesim(sup *supervisor, path, deviceID, connectivity string) (*process, error) {
	file := filepath.Join(e.dir, "device-connection-string")
	if err := os.WriteFile(file, []byte(e.Devices[deviceID]), 0o600); err != nil {
		return nil, err
	}
	p, err := sup.start("devicesim", path,
		"--connection-string-file", file, "--ca-file", e.caFile(),
		"--mqtt-address", e.Addresses.MQTT, "--connectivity", connectivity)
	if err != nil {
		return nil, err
	}
	return p, p.guard()
}

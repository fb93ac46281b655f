// Package emulator runs the program hubemulator as a child, and asks its admin
// listener what the hub has seen: the truth about a client, as the other end saw it.
package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/rest"
)

// adminTimeout bounds one question to the admin listener.
const adminTimeout = 15 * time.Second

// Emulator is a running hubemulator.
type Emulator struct {
	Connections
	// Process is its process.
	Process *process.Process

	dir   string
	admin *http.Client
}

// Connections is what the emulator wrote when it was ready.
type Connections struct {
	// Service is the connection string of its owner.
	Service string `json:"service"`
	// Policies are the connection strings by policy, Devices those by device.
	Policies  map[string]string `json:"policies"`
	Devices   map[string]string `json:"devices"`
	Addresses struct {
		HTTPS string `json:"https"`
		MQTT  string `json:"mqtt"`
		Admin string `json:"admin"`
	} `json:"addresses"`
}

// Start runs the program at path on free ports, with dir for its data, and more
// flags. Its log is named after it.
func Start(ctx context.Context, sup *process.Supervisor, name, path, dir string, flags ...string) (*Emulator, error) {
	args := append([]string{
		"--https-address", "127.0.0.1:0", "--mqtt-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0",
		"--hostname", "localhost", "--data-dir", dir,
	}, flags...)
	p, err := sup.Start(name, path, args...)
	if err != nil {
		return nil, err
	}
	e := &Emulator{Process: p, dir: dir, admin: &http.Client{Timeout: adminTimeout}}
	if err := p.WaitFor(ctx, func(context.Context) error { return e.readConnections() }); err != nil {
		return nil, err
	}
	return e, p.Guard()
}

// CAFile names the file with the authorities to trust.
func (e *Emulator) CAFile() string { return filepath.Join(e.dir, "ca.crt") }

// readConnections succeeds once the emulator is ready: it writes this file
// last.
func (e *Emulator) readConnections() error {
	content, err := os.ReadFile(filepath.Join(e.dir, "connections.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(content, &e.Connections); err != nil {
		// Not the error itself: it could quote a key.
		return errors.New("connections.json is not valid JSON")
	}
	return nil
}

// Count is how often an operation was called, and what came of it.
type Count struct {
	Calls    int            `json:"calls"`
	Statuses map[string]int `json:"statuses"`
	// Billed is what the calls cost, in messages.
	Billed int `json:"billedMessages"`
}

// Counters returns the calls per operation since the emulator started.
func (e *Emulator) Counters(ctx context.Context) (map[string]Count, error) {
	var answer struct {
		Operations map[string]Count `json:"operations"`
	}
	err := e.call(ctx, http.MethodGet, "counters", nil, &answer)
	return answer.Operations, err
}

// Fault is a rule that disturbs requests, as the admin API has it.
type Fault struct {
	Operation string `json:"operation"`
	DeviceID  string `json:"deviceId,omitempty"`
	Action    string `json:"action"`
	Delay     string `json:"delay,omitempty"`
}

// FaultState is what a fault has done so far.
type FaultState struct {
	ID string `json:"id"`
	// Hits is how many requests it applied to, Held how many of them wait now.
	Hits int `json:"hits"`
	Held int `json:"held"`
}

// AddFault puts a fault in force.
func (e *Emulator) AddFault(ctx context.Context, fault Fault) (id string, err error) {
	var answer struct {
		ID string `json:"id"`
	}
	err = e.call(ctx, http.MethodPost, "faults", fault, &answer)
	return answer.ID, err
}

// FaultState returns the state of a fault that is in force.
func (e *Emulator) FaultState(ctx context.Context, id string) (FaultState, error) {
	var rules []FaultState
	if err := e.call(ctx, http.MethodGet, "faults", nil, &rules); err != nil {
		return FaultState{}, err
	}
	for _, rule := range rules {
		if rule.ID == id {
			return rule, nil
		}
	}
	return FaultState{}, fmt.Errorf("the emulator does not list fault %q", id)
}

// RemoveFault ends a fault and releases what it holds.
func (e *Emulator) RemoveFault(ctx context.Context, id string) error {
	return e.call(ctx, http.MethodDelete, "faults/"+id, nil, nil)
}

func (e *Emulator) call(ctx context.Context, method, path string, body, into any) error {
	request, err := rest.NewRequest(ctx, method, "http://"+e.Addresses.Admin+"/emulator/"+path, body)
	if err != nil {
		return err
	}
	return rest.Exchange(e.admin, request, into)
}

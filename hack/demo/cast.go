package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/cast"
)

const (
	castColumns = 96
	castRows    = 30
	// typing and reading are how long a command stands there by itself, and each line that it prints; pausing comes
	// before the next command, and lasting before it all begins anew.
	typing  = 900 * time.Millisecond
	reading = 180 * time.Millisecond
	pausing = 1200 * time.Millisecond
	lasting = 6 * time.Second
	// castTimeout bounds one command.
	castTimeout = time.Minute
)

// scene is a command of the recording, as it is typed.
type scene struct {
	note, command string
	// until returns once there is to be seen what the command shows; nil for at once.
	until func(context.Context) error
}

// scenes are the tutorial in a few commands.
func (s *story) scenes() []scene {
	return []scene{
		{note: "a device twin, declared", command: "cat tutorial/devicetwin.yaml"},
		{command: "kubectl apply -k ."},
		{command: "kubectl wait --for=condition=Ready devicetwin/thermostat-1"},
		{note: "what is declared, on the hub and on the device", command: "kubectl twin get thermostat-1", until: s.connected},
		{note: "the hub's query language", command: `kubectl twin query "tags.location.plant = 'Redmond43'"`},
		{
			note:    "another writer changes the twin",
			command: `hub PATCH /twins/thermostat-1 '{"tags": {"location": {"plant": "Elsewhere"}}}' >/dev/null`,
		},
		{
			command: `kubectl get events --field-selector reason=DriftCorrected -o custom-columns=MESSAGE:.message`,
			until:   s.driftCorrected,
		},
		{note: "what an edit would write, before it is applied", command: "sed -i 's/power_level: 1/power_level: 2/' tutorial/devicetwin.yaml"},
		{command: "kubectl twin diff -k ."},
		{command: "kubectl apply -k . >/dev/null"},
		{note: "the hub and its fleet", command: "kubectl twin status hub", until: s.counted},
	}
}

// record plays the scenes, and writes what the terminal showed.
func (s *story) record(ctx context.Context) error {
	s.current = "cast" // no step, of which a cause could be removed
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.prepareManifests(ctx); err != nil {
		return err
	}
	s.applied = true
	device, err := s.startDevicesim(cellular)
	if err != nil {
		return err
	}
	s.device = device
	hub, err := s.writeHubScript()
	if err != nil {
		return err
	}
	recording := &cast.Recording{Columns: castColumns, Rows: castRows}
	for _, scene := range s.scenes() {
		if err := s.play(ctx, scene, filepath.Dir(hub), recording); err != nil {
			return fmt.Errorf("%s: %w", scene.command, err)
		}
	}
	recording.Pause(lasting)
	return os.WriteFile(s.opts.cast, recording.SVG("kubectl and kubectl twin with a device twin"), 0o644)
}

// play runs a command as in a terminal, and keeps what it shows.
func (s *story) play(ctx context.Context, scene scene, hub string, recording *cast.Recording) error {
	if scene.until != nil {
		if err := scene.until(ctx); err != nil {
			return err
		}
	}
	s.out.note("$ %s", scene.command)
	if scene.note != "" {
		recording.Note(scene.note)
	}
	recording.Prompt(scene.command)
	shown, err := s.inTerminal(ctx, scene.command, hub)
	if err != nil {
		return fmt.Errorf("%w: %s", err, shown)
	}
	recording.Pause(typing)
	if shown != "" {
		recording.Output(shown)
		recording.Pause(time.Duration(strings.Count(shown, "\n")) * reading)
	}
	recording.Pause(pausing)
	return nil
}

// inTerminal runs a command where it takes its output for a terminal's: in that of script(1).
func (s *story) inTerminal(ctx context.Context, command, hub string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, castTimeout)
	defer cancel()
	bin, err := filepath.Abs(s.opts.bin)
	if err != nil {
		return "", err
	}
	size := "stty cols " + strconv.Itoa(castColumns) + " rows " + strconv.Itoa(castRows)
	cmd := exec.CommandContext(ctx, "script", "--quiet", "--return", "--command", size+"; "+command, os.DevNull)
	cmd.Dir = s.manifests.dir
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.kubectl.Kubeconfig, "TERM=xterm-256color",
		"PATH="+strings.Join([]string{bin, filepath.Dir(s.kubectl.Path), hub, os.Getenv("PATH")}, ":"))
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) && strings.HasPrefix(command, "kubectl twin diff ") && exit.ExitCode() == 1 {
		err = nil // something would be written
	}
	return out.String(), err
}

// connected waits until the DeviceTwin shows the device's report.
func (s *story) connected(ctx context.Context) error {
	return s.await(ctx, "the DeviceTwin shows the device's connection and report", func(ctx context.Context) (string, bool, error) {
		var object deviceTwin
		err := s.kubectl.Get(ctx, &object, "devicetwin", deviceID)
		status := object.Status
		return fmt.Sprintf("connectivity %q, connection %q", status.Connectivity, status.Connection.State),
			status.Connectivity == cellular && status.Connection.State == "Connected", err
	})
}

// counted waits until the HubConnection tells how much of the hub is used, which it does once a minute.
func (s *story) counted(ctx context.Context) error {
	if err := s.await(ctx, "the HubConnection tells its use of the hub", func(ctx context.Context) (string, bool, error) {
		var object struct {
			Status struct {
				QuotaDay string `json:"quotaDay"`
			} `json:"status"`
		}
		err := s.kubectl.Get(ctx, &object, "hubconnection", "hub")
		return "no numbers", object.Status.QuotaDay != "", err
	}); err != nil {
		return err
	}
	return s.awaitReady(ctx)
}

// driftCorrected waits for the event.
func (s *story) driftCorrected(ctx context.Context) error {
	return s.await(ctx, "an event DriftCorrected", func(ctx context.Context) (string, bool, error) {
		var list struct {
			Items []struct {
				Message string `json:"message"`
			} `json:"items"`
		}
		err := s.kubectl.Get(ctx, &list, "events", "--field-selector", "reason=DriftCorrected")
		return "none", len(list.Items) > 0, err
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

const (
	cellular = "cellular"
	// tailLines is how much of what the device printed is shown.
	tailLines = 15
)

// deviceReports is step d.
func (s *story) deviceReports(ctx context.Context) error {
	connectivity := cellular
	if s.opts.breakStep == "e" {
		connectivity = "wifi"
	}
	if !s.broken() {
		s.out.note("devicesim starts, over MQTT.")
		device, err := s.startDevicesim(connectivity)
		if err != nil {
			return err
		}
		s.device = device
	}
	s.out.note("Waiting until it prints what is desired of it, and reports.")
	if _, err := s.awaitLine(ctx, "devicesim: desired power_level: 1 ", time.Time{}); err != nil {
		return err
	}
	reported := fmt.Sprintf("devicesim: reported {%q:%q}", "connectivity", connectivity)
	if _, err := s.awaitLine(ctx, reported, time.Time{}); err != nil {
		return err
	}
	s.out.evidence("the device prints", strings.Join(s.device.Tail(tailLines, time.Time{}), "\n"))
	if err := s.awaitTwin(ctx, "the hub has the report connectivity="+connectivity, func(t *twin) bool {
		return t.reported()["connectivity"] == connectivity
	}); err != nil {
		return err
	}
	return s.showTwin(ctx)
}

// awaitLine waits for the device to print a line with this text.
func (s *story) awaitLine(ctx context.Context, text string, since time.Time) (process.Line, error) {
	var line process.Line
	err := s.await(ctx, fmt.Sprintf("the device prints %q", text), func(context.Context) (string, bool, error) {
		if s.device == nil {
			return "", false, errors.New("devicesim is not running")
		}
		var found bool
		line, found = s.device.Find(text, since)
		return fmt.Sprintf("it printed %q", s.device.Tail(3, since)), found, nil
	})
	return line, err
}

// reportShows is step e.
func (s *story) reportShows(ctx context.Context) error {
	s.out.note("Waiting until the DeviceTwin shows the device's report, its connection and both queries.")
	expected := fmt.Sprintf("the DeviceTwin shows connectivity %s, connection Connected and the queries %s and %s", cellular, plantQuery, cellularQuery)
	if err := s.await(ctx, expected, func(ctx context.Context) (string, bool, error) {
		var object deviceTwin
		if err := s.kubectl.Get(ctx, &object, "devicetwin", deviceID); err != nil {
			return "", false, err
		}
		status := object.Status
		seen := fmt.Sprintf("connectivity %q, connection %q, queries %v", status.Connectivity, status.Connection.State, status.Memberships)
		return seen, status.Connectivity == cellular && status.Connection.State == "Connected" &&
			equalSets(status.Memberships, []string{plantQuery, cellularQuery}), nil
	}); err != nil {
		return err
	}
	for _, query := range []string{plantQuery, cellularQuery} {
		if err := s.awaitMembers(ctx, query, deviceID); err != nil {
			return err
		}
	}
	return s.showTable(ctx, "devicetwins,twinqueries")
}

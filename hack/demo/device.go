package main

import (
	"os"
	"path/filepath"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

// startDevicesim starts the simulated device.
func (s *story) startDevicesim(connectivity string) (*process.Process, error) {
	file := s.dirs.in("device-connection-string")
	if err := os.WriteFile(file, []byte(s.emulator.Devices[deviceID]), 0o600); err != nil {
		return nil, err
	}
	p, err := s.sup.Start("devicesim", filepath.Join(s.opts.bin, "devicesim"),
		"--connection-string-file", file, "--ca-file", s.emulator.CAFile(),
		"--mqtt-address", s.emulator.Addresses.MQTT, "--connectivity", connectivity)
	if err != nil {
		return nil, err
	}
	return p, p.Guard()
}

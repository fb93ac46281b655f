package main

import (
	"context"
	"fmt"
	"strings"
)

// badManifests break rules of IoT Hub: a key with a dot, a number that is too
// large, a string that is too long, and a condition without an end.
const badManifests = `apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: press-7}
spec:
  hubRef: {name: hub}
  deviceId: press-7
  tags: {location: {machine: 4503599627370496}, serial.number: 4711}
  desired: {notes: %q}
---
apiVersion: iothub.devicetwin.io/v1alpha1
kind: TwinQuery
metadata: {name: presses}
spec:
  hubRef: {name: hub}
  where: tags.location.plant = 'Redmond43' AND
`

// refusals are what kubectl reports to the user: field, rule and limit.
var refusals = []string{
	"spec.tags.location.machine: Invalid value: an integer outside -4503599627370496 to 4503599627370495",
	`spec.tags["serial.number"]: Invalid value: a key with the character '.'; IoT Hub allows no control character, '.', '$', '#' or space in keys`,
	"spec.desired.notes: Invalid value: a string of 4097 bytes; at most 4096 are allowed",
	"spec.where: Invalid value: column 38: expected a property, a constant or a function, found the end of the text",
}

// refusal is step i.
func (s *story) refusal(ctx context.Context) error {
	if s.broken() {
		s.out.note("The webhook configuration is deleted.")
		if _, err := s.kubectl.Run(ctx, "delete", "validatingwebhookconfigurations", "--all"); err != nil {
			return err
		}
	}
	s.out.note("A DeviceTwin and a TwinQuery are applied that no hub would take.")
	manifests := fmt.Sprintf(badManifests, strings.Repeat("n", 4097))
	// A manager that was just killed and started is not asked before it serves.
	if err := s.await(ctx, "kubectl apply is refused, with field, rule and limit", func(ctx context.Context) (string, bool, error) {
		printed, err := s.kubectl.RunWithInput(ctx, strings.NewReader(manifests), "apply", "-f", "-")
		if err == nil {
			return "admitted: " + strings.TrimSpace(printed), false, s.deleteAdmitted(ctx)
		}
		for _, refusal := range refusals {
			if !strings.Contains(err.Error(), refusal) {
				return "", false, fmt.Errorf("%q is missing in: %w", refusal, err)
			}
		}
		s.out.evidence("kubectl apply", err.Error())
		return "", true, nil
	}); err != nil {
		return err
	}
	return s.showTable(ctx, "devicetwins,twinqueries")
}

// deleteAdmitted takes back what should not have got in.
func (s *story) deleteAdmitted(ctx context.Context) error {
	_, err := s.kubectl.Run(ctx, "delete", "--ignore-not-found", "devicetwin/press-7", "twinquery/presses")
	return err
}

package store

import (
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// maxModules is how many modules IoT Hub lets a device have. Whether it counts
// an edge device's system modules is not established; here it does not.
const maxModules = 50

// creation is what comes with a new identity.
type creation struct {
	// content is what the twin starts with.
	content twindoc.Change
	// reported is what the device said before; nil for nothing.
	reported map[string]any
	// bulk says that many are created in one call.
	bulk bool
}

// create registers a device or module with its twin.
func (s *Store) create(wanted identity, with creation) (*entry, error) {
	device, err := s.roomFor(wanted.id)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	wanted.generation, wanted.writes = s.generation(now), firstWrite()
	if wanted.scopes, err = s.resolveScopes(wanted, nil); err != nil {
		return nil, err
	}
	fresh, err := s.freshTwin(wanted.id, with, now)
	if err != nil {
		return nil, err
	}
	created := &entry{Snapshot: &Snapshot{identity: wanted, twin: fresh}}
	if wanted.id.Module == "" {
		s.devices[wanted.id.Device] = created
	} else {
		device.addModule(created)
	}
	s.added(created)
	if wanted.id.Module == "" {
		s.fitSystemModules(created)
	}
	return created, nil
}

// roomFor checks that there is room for a new device or module; it returns a
// new module's device.
func (s *Store) roomFor(id ID) (device *entry, err error) {
	device = s.devices[id.Device]
	switch {
	case id.Module == "" && device != nil:
		return nil, deviceExists(id.Device)
	case id.Module == "":
		return nil, nil
	case device == nil:
		return nil, deviceNotFound(id.Device)
	case id.isSystemModule():
		return nil, invalidArgument("The module id should not start with '$': such modules are the hub's own")
	case device.modules[id.Module] != nil:
		return nil, moduleExists(id)
	case device.ownModules() >= maxModules:
		return nil, tooManyModules(id.Device)
	}
	return device, nil
}

// freshTwin is a twin at its creation. The hub leaves the time of the first
// write open in the twins of modules, and in what a bulk creation asked for.
func (s *Store) freshTwin(id ID, with creation, now time.Time) (twin, error) {
	var desired, reported time.Time
	if id.Module == "" {
		reported = now
		if !with.bulk {
			desired = now
		}
	}
	fresh := twin{writes: 1, desired: twindoc.NewSection(desired), reported: twindoc.NewSection(reported)}
	if err := checkChange(with.content); err != nil {
		return twin{}, err
	}
	version := fresh.desired.Version()
	w := s.writing(desired, version)
	fresh.tags = fresh.tags.Merged(with.content.Tags, w)
	if with.content.Desired != nil {
		fresh.desired = fresh.desired.Merged(with.content.Desired, w, version)
	}
	if with.reported != nil {
		fresh.reported = fresh.reported.Merged(with.reported, s.writing(reported, 0), fresh.reported.Version())
	}
	if err := s.choices.checkReportedSize(fresh.reported); err != nil {
		return twin{}, err
	}
	return fresh, s.choices.checkTwinSizes(fresh)
}

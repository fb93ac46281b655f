package store

import (
	"maps"
	"math"
	"slices"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
)

// Moment is what a hub held at one moment: devices and modules with their twins and queues, and configurations. It is
// never changed, and shares what the hub still holds of it.
type Moment struct {
	devices        map[string][]taken // the device, then its modules
	configurations map[string]configuration.Configuration
}

// Moment returns what the hub holds now.
func (s *Store) Moment() *Moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Moment{devices: make(map[string][]taken, len(s.devices)), configurations: maps.Clone(s.configurations)}
	s.index.next(Devices, ID{}, math.MaxInt, func(device *entry) {
		all := []taken{device.taken()}
		for _, name := range slices.Sorted(maps.Keys(device.modules)) {
			all = append(all, device.modules[name].taken())
		}
		m.devices[device.identity.id.Device] = all
	})
	return m
}

// Rewind makes devices what they were at a moment, and deletes those that were not there; without ids it does so with
// all devices, and with the configurations. Etags, versions, times and generation ids are those of then. Whatever was
// restored or deleted is disconnected. Queries see it as they see any other change.
func (s *Store) Rewind(m *Moment, deviceIDs ...string) error {
	return s.locked(func() error {
		ids := slices.Clone(deviceIDs)
		if len(ids) == 0 {
			s.configurations = make(map[string]configuration.Configuration, len(m.configurations))
			maps.Copy(s.configurations, m.configurations)
			s.revision++
			s.signalConfigurations()
			ids = slices.AppendSeq(slices.Collect(maps.Keys(s.devices)), maps.Keys(m.devices))
		}
		slices.Sort(ids) // so that every run does the same
		ids = slices.Compact(ids)
		for _, id := range ids {
			if s.devices[id] == nil && m.devices[id] == nil {
				return deviceNotFound(id)
			}
		}
		for _, id := range ids {
			s.rewind(s.devices[id], m.devices[id])
		}
		return nil
	})
}

// rewind runs in locked. now is nil for a device that is not there, then is empty for one that was not.
func (s *Store) rewind(now *entry, then []taken) {
	if len(then) == 0 {
		s.drop(now)
		return
	}
	if now != nil {
		for _, name := range slices.Sorted(maps.Keys(now.modules)) {
			if !slices.ContainsFunc(then, func(t taken) bool { return t.identity.id.Module == name }) {
				s.drop(now.modules[name])
			}
		}
	}
	for _, before := range then {
		s.putBack(before)
	}
}

// putBack runs in locked; a device has to be put back before its modules.
func (s *Store) putBack(then taken) {
	id := then.identity.id
	e := s.lookup(id)
	if e == nil {
		e = &entry{Snapshot: then.Snapshot}
		if id.Module == "" {
			s.devices[id.Device] = e
		} else {
			s.devices[id.Device].addModule(e)
		}
	}
	if e.session != nil {
		e.session.end(DropRestored)
		e.session = nil
	}
	wasConnected := e.identity.connected || then.identity.connected
	e.Snapshot, e.subscriptions = then.Snapshot, maps.Clone(then.subscriptions)
	e.commands = then.commands.queue()
	if wasConnected {
		now := e.edit()
		now.identity.connected, now.identity.connectionUpdated = false, s.now()
	}
	s.added(e)
}

package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
)

// RestoreHub makes the store the hub that was saved. Nobody may use it yet.
func (s *Store) RestoreHub(saved SavedHub) error {
	if len(saved.Policies) == 0 {
		return errors.New("there is no policy")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies, s.lastTicks = saved.Policies, saved.LastTicks
	return nil
}

// Restore puts a device or module back, disconnected. A device has to come
// before its modules. Queries see it at once.
func (s *Store) Restore(saved SavedIdentity) error {
	id := ID{Device: saved.DeviceID, Module: saved.ModuleID}
	if id.Device == "" {
		return errors.New("a device without an id")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookup(id) != nil {
		return fmt.Errorf("device %q, module %q: it is there twice", id.Device, id.Module)
	}
	restored := saved.entry(id)
	if !restored.twin.desired.isMirrored() || !restored.twin.reported.isMirrored() {
		return fmt.Errorf("device %q, module %q: the metadata is not that of the twin's properties", id.Device, id.Module)
	}
	if saved.Connected {
		restored.identity.connectionUpdated = s.clock.Now()
	}
	if id.Module == "" {
		restored.modules = map[string]*entry{}
		s.devices[id.Device] = restored
	} else {
		device := s.devices[id.Device]
		if device == nil {
			return fmt.Errorf("device %q, module %q: the device is not there", id.Device, id.Module)
		}
		device.modules[id.Module] = restored
	}
	s.index.put(id, restored)
	if s.past != nil {
		seen := restored.snapshot()
		s.past.remember(version{at: time.Time{}, seen: &seen})
	}
	return nil
}

// RestoreConfiguration puts a configuration back.
func (s *Store) RestoreConfiguration(saved configuration.Configuration) error {
	if err := saved.Check(); err != nil {
		return fmt.Errorf("configuration %q: %w", saved.ID, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.configurations[saved.ID]; known {
		return fmt.Errorf("configuration %q: it is there twice", saved.ID)
	}
	s.configurations[saved.ID] = saved
	return nil
}

func (saved SavedIdentity) entry(id ID) *entry {
	restored := &entry{
		identity: identity{
			id: id, generationID: saved.GenerationID, writes: saved.Writes,
			status: saved.Status, statusReason: saved.StatusReason, auth: saved.Auth, iotEdge: saved.IotEdge,
			scopes:    scopes{device: saved.DeviceScope, parents: saved.ParentScopes},
			managedBy: optional(saved.ManagedBy), modelID: saved.ModelID, connectionUpdated: saved.ConnectionUpdated,
			statusUpdated: saved.StatusUpdated, lastActivity: saved.LastActivity,
		},
		twin: twin{
			writes: saved.Twin.Writes, tags: saved.Twin.Tags,
			desired: saved.Twin.Desired.section(), reported: saved.Twin.Reported.section(),
			configurations: saved.Twin.Configurations,
		},
		subscriptions: saved.Subscriptions,
	}
	if queue := saved.Commands; queue != nil {
		restored.commands = commandQueue{last: queue.Last}
		for _, c := range queue.Pending {
			c.Command.sequence = c.Sequence
			restored.commands.pending = append(restored.commands.pending,
				&pendingCommand{Command: c.Command, expires: c.Expires, deliveries: c.Deliveries})
		}
		restored.identity.pendingCommands = len(queue.Pending)
	}
	return restored
}

func (saved savedSection) section() section {
	values := saved.Values
	if values == nil {
		values = map[string]any{}
	}
	return section{values: values, meta: saved.Meta.meta(newStamp(time.Time{}, 0)), version: saved.Version}
}

func (s section) isMirrored() bool { return s.meta.mirrors(s.values) }

// meta shares the stamp of what is above where it is the same.
func (saved *savedMeta) meta(above *stamp) *meta {
	m := &meta{stamp: above}
	if saved == nil {
		return m
	}
	if !saved.Updated.Equal(above.updated) || saved.Version != above.version {
		m.stamp = newStamp(saved.Updated, saved.Version)
	}
	for _, name := range sortedNames(saved.Children) {
		m.children = append(m.children, child{name, saved.Children[name].meta(m.stamp)})
	}
	return m
}

// Has reports whether there is such a device or module.
func (s *Store) Has(id ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(id) != nil
}

package store

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// RestoreHub makes the store the hub that was saved. It has to be called before
// the store is used.
func (s *Store) RestoreHub(saved SavedHub) error {
	if len(saved.Policies) == 0 {
		return errors.New("there is no policy")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies, s.lastTicks = saved.Policies, ticks(saved.LastTicks)
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
	restored, err := saved.entry(id, s.common)
	if err != nil {
		return fmt.Errorf("device %q, module %q: %w", id.Device, id.Module, err)
	}
	if saved.Connected {
		restored.identity.connectionUpdated = s.now()
	}
	if id.Module == "" {
		s.devices[id.Device] = restored
	} else {
		device := s.devices[id.Device]
		if device == nil {
			return fmt.Errorf("device %q, module %q: the device is not there", id.Device, id.Module)
		}
		device.addModule(restored)
	}
	s.index.put(id, restored)
	if s.past != nil {
		s.past.remember(version{at: time.Time{}, seen: restored.Snapshot})
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

func (saved SavedIdentity) entry(id ID, common *twindoc.Common) (*entry, error) {
	desired, err := saved.Twin.Desired.Section(common)
	if err != nil {
		return nil, err
	}
	reported, err := saved.Twin.Reported.Section(common)
	if err != nil {
		return nil, err
	}
	generation, err := strconv.ParseInt(cmp.Or(saved.GenerationID, "0"), 10, 64)
	if err != nil {
		return nil, errors.New("the generation id is no number of ticks")
	}
	commands := saved.Commands.queue()
	seen := &Snapshot{
		identity: identity{
			id: id, generation: ticks(generation), writes: saved.Writes,
			status: saved.Status, statusReason: saved.StatusReason, auth: saved.Auth, iotEdge: saved.IotEdge,
			scopes:    scopes{device: saved.DeviceScope, parents: saved.ParentScopes},
			managedBy: optional(saved.ManagedBy), modelID: saved.ModelID, connectionUpdated: ticksOf(saved.ConnectionUpdated),
			statusUpdated: ticksOf(saved.StatusUpdated), lastActivity: ticksOf(saved.LastActivity), pendingCommands: len(commands.pending),
		},
		twin: twin{
			writes: saved.Twin.Writes, tags: (*twindoc.Tree)(nil).Merged(saved.Twin.Tags, desired.LastWrite(common)),
			desired: desired, reported: reported, configurations: saved.Twin.Configurations,
		},
	}
	return &entry{Snapshot: seen, subscriptions: saved.Subscriptions, commands: commands}, nil
}

// queue is empty for nothing.
func (saved *savedCommands) queue() commandQueue {
	if saved == nil {
		return commandQueue{}
	}
	queue := commandQueue{last: saved.Last}
	for _, c := range saved.Pending {
		c.Command.sequence = c.Sequence
		queue.pending = append(queue.pending, &pendingCommand{Command: c.Command, expires: c.Expires, deliveries: c.Deliveries})
	}
	return queue
}

// Has reports whether there is such a device or module.
func (s *Store) Has(id ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(id) != nil
}

package store

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/configuration"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// SavedHub is what a hub keeps besides its devices.
type SavedHub struct {
	Policies []Policy `json:"policies"`
	// LastTicks is the newest generation id that was handed out.
	LastTicks int64 `json:"lastTicks"`
}

// SavedIdentity is a device or module with its twin and its queue, as a file
// keeps it. Its session, and what its twin was before, are not kept.
type SavedIdentity struct {
	DeviceID     string         `json:"deviceId"`
	ModuleID     string         `json:"moduleId,omitempty"`
	GenerationID string         `json:"generationId"`
	Writes       uint64         `json:"writes"`
	Status       string         `json:"status"`
	StatusReason string         `json:"statusReason,omitempty"`
	Auth         authentication `json:"authentication"`
	IotEdge      bool           `json:"iotEdge,omitempty"`
	DeviceScope  string         `json:"deviceScope,omitempty"`
	ParentScopes []string       `json:"parentScopes,omitempty"`
	ManagedBy    string         `json:"managedBy,omitempty"`
	ModelID      string         `json:"modelId,omitempty"`

	Connected         bool      `json:"connected,omitempty"`
	ConnectionUpdated time.Time `json:"connectionUpdated,omitzero"`
	StatusUpdated     time.Time `json:"statusUpdated,omitzero"`
	LastActivity      time.Time `json:"lastActivity,omitzero"`

	Twin     savedTwin      `json:"twin"`
	Commands *savedCommands `json:"commands,omitempty"`
	// Subscriptions are those that outlive a connection: QoS by filter.
	Subscriptions map[string]byte `json:"subscriptions,omitempty"`
}

type savedTwin struct {
	Writes   uint64               `json:"writes"`
	Tags     map[string]any       `json:"tags,omitempty"`
	Desired  twindoc.SavedSection `json:"desired"`
	Reported twindoc.SavedSection `json:"reported"`
	// Configurations are the status of each that targets the twin.
	Configurations map[string]string `json:"configurations,omitempty"`
}

type savedCommands struct {
	Pending []savedCommand `json:"pending,omitempty"`
	Last    uint64         `json:"last"` // sequence number
}

type savedCommand struct {
	Command
	Sequence   uint64    `json:"sequence"`
	Expires    time.Time `json:"expires"`
	Deliveries int       `json:"deliveries,omitempty"`
}

// Revision moves with every change of what SavedHub, Saved and
// SavedConfigurations tell.
func (s *Store) Revision() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// SavedHub returns what is not about a device.
func (s *Store) SavedHub() SavedHub {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SavedHub{Policies: s.policies, LastTicks: int64(s.lastTicks)}
}

// Saved yields all devices in the order of their ids, each one followed by its
// modules, as they were at one moment; those of other devices are of another
// moment. No lock is held while the caller looks at one.
func (s *Store) Saved() iter.Seq[SavedIdentity] {
	return func(yield func(SavedIdentity) bool) {
		for taken := range walk(s, (*entry).taken) {
			if !yield(taken.saved()) {
				return
			}
		}
	}
}

// SavedConfigurations yields all configurations as they are at one moment.
func (s *Store) SavedConfigurations() iter.Seq[configuration.Configuration] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Values(s.configurationsInOrder())
}

// Keys yields the primary keys of all devices and modules that sign in with
// keys, in order.
func (s *Store) Keys() iter.Seq2[ID, string] {
	return func(yield func(ID, string) bool) {
		for taken := range walk(s, func(e *entry) *Snapshot { return e.Snapshot }) {
			key := string(taken.identity.auth.SymmetricKey.Primary)
			if key != "" && !yield(taken.identity.id, key) {
				return
			}
		}
	}
}

// walk yields what take makes of every device and module that is there from
// the first to the last call, in order. take runs with the lock held, yield
// without.
func walk[T any](s *Store, take func(*entry) T) iter.Seq[T] {
	return func(yield func(T) bool) {
		var buffer []T
		var last ID
		for more := true; more; {
			buffer = buffer[:0]
			s.mu.Lock()
			last, more = s.index.next(Devices, last, scanned, func(device *entry) {
				buffer = append(buffer, take(device))
				for _, name := range slices.Sorted(maps.Keys(device.modules)) {
					buffer = append(buffer, take(device.modules[name]))
				}
			})
			s.mu.Unlock()
			for _, taken := range buffer {
				if !yield(taken) {
					return
				}
			}
		}
	}
}

// taken is an entry as it was at one moment, before there is time to make a
// SavedIdentity of it.
type taken struct {
	*Snapshot
	commands      *savedCommands
	subscriptions map[string]byte
}

func (d *entry) taken() taken {
	t := taken{Snapshot: d.Snapshot, subscriptions: maps.Clone(d.subscriptions)}
	if d.commands.last == 0 {
		return t
	}
	t.commands = &savedCommands{Last: d.commands.last}
	for _, p := range d.commands.pending {
		t.commands.Pending = append(t.commands.Pending,
			savedCommand{Command: p.Command, Sequence: p.sequence, Expires: p.expires, Deliveries: p.deliveries})
	}
	return t
}

func (t taken) saved() SavedIdentity {
	i := t.identity
	return SavedIdentity{
		DeviceID: i.id.Device, ModuleID: i.id.Module, GenerationID: i.generationID(), Writes: i.writes,
		Status: i.status, StatusReason: i.statusReason, Auth: i.auth, IotEdge: i.iotEdge,
		DeviceScope: i.scopes.device, ParentScopes: i.scopes.parents, ManagedBy: string(i.managedBy), ModelID: i.modelID,
		Connected: i.connected, ConnectionUpdated: i.connectionUpdated.time(),
		StatusUpdated: i.statusUpdated.time(), LastActivity: i.lastActivity.time(),
		Twin: savedTwin{
			Writes: t.twin.writes, Tags: t.twin.tags.Values(),
			Desired: t.twin.desired.Saved(), Reported: t.twin.reported.Saved(),
			Configurations: t.twin.configurations,
		},
		Commands: t.commands, Subscriptions: t.subscriptions,
	}
}

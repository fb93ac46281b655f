package store

import (
	"encoding/json"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

// What a hub under test does wrong on purpose.

// after returns a twin that remembers the one that its write found.
func (t twin) after(found twin) twin {
	if t.writes == found.writes && t.reported.Version() == found.reported.Version() {
		return t // nothing was written
	}
	found.before = nil // one write back is all that is kept
	t.before = &found
	return t
}

func (t twin) withReported(reported twindoc.Section) twin {
	written := t
	written.reported = reported
	return written.after(t)
}

// previous is the twin as it was before its last write.
func (t twin) previous() twin {
	if t.before == nil {
		return t // as it was created
	}
	return *t.before
}

// TwinBefore is Twin as a stale replica of the hub would answer it: without
// the last write of the back end or the device.
func (s *Store) TwinBefore(id ID) (*Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return &Snapshot{identity: found.identity, twin: found.twin.previous()}, nil
}

// deviceView is a twin as its device sees it.
func (t twin) deviceView() map[string]any {
	return map[string]any{"desired": t.desired.DeviceView(), "reported": t.reported.DeviceView()}
}

// TwinBefore is Twin without the last write.
func (x *Session) TwinBefore() ([]byte, error) {
	x.store.mu.Lock()
	found, err := x.device()
	if err != nil {
		x.store.mu.Unlock()
		return nil, err
	}
	view := found.twin.previous().deviceView()
	x.store.mu.Unlock()
	return json.Marshal(view)
}

// CutConnections ends the connections of a device and of its modules. They
// may connect again. An unknown device has none.
func (s *Store) CutConnections(deviceID string) {
	// Nothing that is cut can fail.
	_ = s.locked(func() error {
		device := s.devices[deviceID]
		if device == nil {
			return nil
		}
		s.cut(device)
		for _, module := range device.modules {
			s.cut(module)
		}
		return nil
	})
}

func (s *Store) cut(e *entry) {
	if e.session != nil {
		e.session.end(DropFault)
		e.disconnect(s)
	}
}

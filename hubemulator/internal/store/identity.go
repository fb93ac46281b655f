package store

import (
	"strings"
	"time"
)

const (
	statusEnabled  = "enabled"
	statusDisabled = "disabled"

	maxStatusReason = 128 // characters
)

// identity is a device's entry in the registry.
type identity struct {
	id, generationID, etag string
	status, statusReason   string
	auth                   authentication
	iotEdge                bool

	connected                                      bool
	connectionUpdated, statusUpdated, lastActivity time.Time
}

func (i identity) connectionState() string {
	if i.connected {
		return "Connected"
	}
	return "Disconnected"
}

// Identity is a device identity as the service API shows it.
type Identity struct {
	Document map[string]any
	// Etag is the identity's etag, without quotes.
	Etag string
}

func (i identity) view() Identity {
	var reason any
	if i.statusReason != "" {
		reason = i.statusReason
	}
	return Identity{Etag: i.etag, Document: map[string]any{
		"deviceId":                   i.id,
		"generationId":               i.generationID,
		"etag":                       i.etag,
		"connectionState":            i.connectionState(),
		"status":                     i.status,
		"statusReason":               reason,
		"connectionStateUpdatedTime": formatTime(i.connectionUpdated),
		"statusUpdatedTime":          formatTime(i.statusUpdated),
		"lastActivityTime":           formatTime(i.lastActivity),
		"cloudToDeviceMessageCount":  0,
		"authentication":             i.auth,
		"capabilities":               map[string]any{"iotEdge": i.iotEdge},
	}}
}

// Device returns a device identity.
func (s *Store) Device(deviceID string) (Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(deviceID)
	if err != nil {
		return Identity{}, err
	}
	return d.identity.view(), nil
}

// Devices returns the first identities, in the order of their ids, at most
// limit of them.
func (s *Store) Devices(limit int) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.sortedIDs()
	documents := make([]map[string]any, 0, min(limit, len(ids)))
	for _, id := range ids[:min(limit, len(ids))] {
		documents = append(documents, s.devices[id].identity.view().Document)
	}
	return documents
}

// DeviceKey returns the primary key of a device that signs in with keys; it
// is empty for a device that does not.
func (s *Store) DeviceKey(deviceID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(deviceID)
	if err != nil {
		return "", err
	}
	return string(d.identity.auth.SymmetricKey.Primary), nil
}

// PutDevice creates or replaces a device identity. Without an If-Match value,
// or with the empty etag, it only creates; with one it only updates. What the
// body leaves out gets its default, the keys included: those are minted anew.
func (s *Store) PutDevice(deviceID, ifMatch string, body []byte) (Identity, error) {
	wanted, err := parseIdentity(deviceID, body)
	if err != nil {
		return Identity{}, err
	}
	if ifMatch == "" || ifMatch == `""` {
		return s.create(wanted)
	}
	return s.update(wanted, ifMatch)
}

func (s *Store) create(wanted identity) (Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, found := s.devices[wanted.id]; found {
		return Identity{}, deviceExists(wanted.id)
	}
	now := s.clock.Now()
	wanted.generationID, wanted.etag = s.generationID(now), s.identityEtag()
	s.devices[wanted.id] = &device{
		identity: wanted,
		twin:     twin{writes: 1, desired: newSection(now), reported: newSection(now)},
	}
	view := wanted.view()
	for _, name := range []string{"connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime"} {
		// The hub answers a creation, and only that, with times that lack a zone.
		view.Document[name] = strings.TrimSuffix(never, "Z")
	}
	return view, nil
}

func (s *Store) update(wanted identity, ifMatch string) (Identity, error) {
	s.mu.Lock()
	d, err := s.find(wanted.id)
	if err == nil && !identityMatches(ifMatch, d.identity.etag) {
		err = preconditionFailed("PreconditionFailed")
	}
	if err != nil {
		s.mu.Unlock()
		return Identity{}, err
	}
	current := d.identity
	d.identity.auth, d.identity.iotEdge = wanted.auth, wanted.iotEdge
	d.identity.status, d.identity.statusReason = wanted.status, wanted.statusReason
	d.identity.etag = s.identityEtag()
	if wanted.status != current.status {
		d.identity.statusUpdated = s.clock.Now()
	}
	session := d.session
	if session != nil && !session.credential.holds(d) {
		reason := DropKeyChanged
		if d.identity.status != statusEnabled {
			reason = DropDisabled
		}
		session.end(reason)
		d.disconnect(s)
	}
	view := d.identity.view()
	s.mu.Unlock()
	if session != nil {
		session.deliver()
	}
	return view, nil
}

// DeleteDevice removes a device with its twin. It needs an If-Match value.
func (s *Store) DeleteDevice(deviceID, ifMatch string) error {
	s.mu.Lock()
	d, err := s.find(deviceID)
	switch {
	case ifMatch == "":
		err = preconditionFailed("Etag missing")
	case err == nil && !identityMatches(ifMatch, d.identity.etag):
		err = preconditionFailed("PreconditionFailed")
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	delete(s.devices, deviceID)
	session := d.session
	if session != nil {
		session.end(DropDeleted)
	}
	s.mu.Unlock()
	if session != nil {
		session.deliver()
	}
	return nil
}

// identityMatches applies an If-Match value to an identity's etag; unlike a
// twin's, it counts with or without quotes.
func identityMatches(ifMatch, etag string) bool {
	value := strings.Trim(ifMatch, `"`)
	return value == "*" || value == etag
}

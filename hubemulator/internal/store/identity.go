package store

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/twindoc"
)

const (
	statusEnabled  = "enabled"
	statusDisabled = "disabled"

	maxStatusReason = 128 // characters
)

// identity is a device's or a module's entry in the registry.
type identity struct {
	id                   ID
	generation           ticks  // of the creation, never handed out twice
	writes               uint64 // the etag in the open
	status, statusReason string // a module is always enabled
	auth                 authentication
	iotEdge              bool
	scopes               scopes
	managedBy            optional // of a module

	modelID string // of the interface that it implements, as it said when it connected

	pendingCommands int // messages from the cloud that the device does not have yet

	connected                                      bool
	connectionUpdated, statusUpdated, lastActivity ticks
}

// ticks are a time as twindoc counts it, in a third of the memory of a time.Time and
// without a pointer.
type ticks int64

func ticksOf(t time.Time) ticks { return ticks(twindoc.Ticks(t)) }

func (t ticks) time() time.Time { return twindoc.TimeOf(int64(t)) }

// generationID tells two devices apart that had the same id one after the
// other.
func (i identity) generationID() string { return fmt.Sprintf("%018d", i.generation) }

// etag is base64 of a decimal counter, unlike a twin's.
func (i identity) etag() string {
	return decimalEtag(i.writes)
}

func (i identity) connectionState() string {
	if i.connected {
		return "Connected"
	}
	return "Disconnected"
}

// Identity is an identity as the service API shows it.
type Identity struct {
	Document map[string]any
	// Etag is the identity's etag, without quotes.
	Etag string
}

func (i identity) view() Identity {
	document := map[string]any{
		"deviceId":                   i.id.Device,
		"generationId":               i.generationID(),
		"etag":                       i.etag(),
		"connectionState":            i.connectionState(),
		"connectionStateUpdatedTime": twindoc.FormatTime(i.connectionUpdated.time()),
		"lastActivityTime":           twindoc.FormatTime(i.lastActivity.time()),
		"cloudToDeviceMessageCount":  i.pendingCommands,
		"authentication":             i.auth,
	}
	if i.id.Module != "" {
		document["moduleId"] = i.id.Module
		document["managedBy"] = i.managedBy
	} else {
		document["status"] = i.status
		document["statusReason"] = optional(i.statusReason)
		document["statusUpdatedTime"] = twindoc.FormatTime(i.statusUpdated.time())
		document["capabilities"] = map[string]any{"iotEdge": i.iotEdge}
		maps.Copy(document, i.scopes.fields().Values())
	}
	return Identity{Etag: i.etag(), Document: document}
}

// createdView is the answer to a creation. The hub gives that, and only that,
// times without a zone, and the scopes of parents even if there are none.
func (i identity) createdView() Identity {
	view := i.view()
	for _, name := range []string{"connectionStateUpdatedTime", "statusUpdatedTime", "lastActivityTime"} {
		if _, shown := view.Document[name]; shown {
			view.Document[name] = strings.TrimSuffix(twindoc.Never, "Z")
		}
	}
	if i.id.Module == "" && len(i.scopes.parents) == 0 {
		view.Document["parentScopes"] = []string{}
	}
	return view
}

// Identity returns the identity of a device or module. A module's is kept
// from everybody while its device is missing or disabled.
func (s *Store) Identity(id ID) (Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.admitModule(id); err != nil {
		return Identity{}, err
	}
	found, err := s.findIdentity(id)
	if err != nil {
		return Identity{}, err
	}
	return found.identity.view(), nil
}

// findIdentity is find with the registry's own answer for a missing module.
func (s *Store) findIdentity(id ID) (*entry, error) {
	found, err := s.find(id)
	if err != nil && id.Module != "" && s.devices[id.Device] != nil {
		return nil, moduleNotFound(id)
	}
	return found, err
}

// admitModule refuses calls for the modules of a device that is missing or
// disabled, as the hub does for every shared access policy.
func (s *Store) admitModule(id ID) error {
	if id.Module != "" && !s.enabled(id) {
		return Unauthorized()
	}
	return nil
}

// enabled reports whether a device, or the device of a module, may do
// anything at all.
func (s *Store) enabled(id ID) bool {
	device := s.devices[id.Device]
	return device != nil && device.identity.status == statusEnabled
}

// Identities returns the first identities of devices, in the order of their
// ids, at most limit of them.
func (s *Store) Identities(limit int) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	documents := make([]map[string]any, 0, min(limit, len(s.devices)))
	s.index.next(Devices, ID{}, limit, func(device *entry) {
		documents = append(documents, device.identity.view().Document)
	})
	return documents
}

// Key returns the primary key of a device or module that signs in with keys;
// it is empty for one that does not.
func (s *Store) Key(id ID) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.findIdentity(id)
	if err != nil {
		return "", err
	}
	if keys := s.keysOf(found); len(keys) > 0 {
		return keys[0], nil
	}
	return "", nil
}

// PutIdentity creates or replaces the identity of a device or module. Without
// an If-Match value, or with the empty etag, it only creates; with one it only
// updates. What the body leaves out gets its default, the keys included: those
// are minted anew.
func (s *Store) PutIdentity(id ID, ifMatch string, body []byte) (Identity, error) {
	wanted, err := parseIdentity(id, body)
	if err != nil {
		return Identity{}, err
	}
	var view Identity
	err = s.locked(func() error {
		if err := s.admitModule(id); err != nil {
			return err
		}
		if ifMatch == "" || ifMatch == `""` {
			created, err := s.create(wanted, creation{})
			if err == nil {
				view = created.identity.createdView()
			}
			return err
		}
		updated, err := s.update(wanted, ifMatch)
		if err == nil {
			view = updated.identity.view()
		}
		return err
	})
	return view, err
}

// update replaces what a client may set of an identity, if its etag is the one
// that ifMatch wants.
func (s *Store) update(wanted identity, ifMatch string) (*entry, error) {
	found, err := s.findIdentity(wanted.id)
	if err != nil {
		return nil, err
	}
	if wanted.id.isSystemModule() {
		return nil, systemModule(wanted.id)
	}
	if !etagMatches(ifMatch, found.identity.etag()) {
		return nil, preconditionFailed("PreconditionFailed")
	}
	current := &found.identity
	if wanted.scopes, err = s.resolveScopes(wanted, current); err != nil {
		return nil, err
	}
	current = &found.edit().identity
	if wanted.status != current.status {
		current.statusUpdated = s.now()
	}
	current.auth, current.iotEdge, current.scopes = wanted.auth, wanted.iotEdge, wanted.scopes
	current.status, current.statusReason = wanted.status, wanted.statusReason
	current.managedBy = wanted.managedBy
	current.writes++
	s.endUnfounded(found)
	s.changed(found)
	if wanted.id.Module == "" {
		s.fitSystemModules(found)
	}
	return found, nil
}

// endUnfounded ends the sessions of a device and its modules, or of a module,
// whose credentials are good no more. It runs in locked.
func (s *Store) endUnfounded(changed *entry) {
	changed.each(func(e *entry) {
		if session := e.session; session != nil && !s.holds(session.credential) {
			reason := DropKeyChanged
			if !s.enabled(e.identity.id) {
				reason = DropDisabled
			}
			session.end(reason)
			e.disconnect(s)
		}
	})
}

// each calls visit for a device and all of its modules, or for a module.
func (d *entry) each(visit func(*entry)) {
	visit(d)
	for _, module := range d.modules {
		visit(module)
	}
}

// DeleteIdentity removes a device with its modules, or a module, and their
// twins. It needs an If-Match value.
func (s *Store) DeleteIdentity(id ID, ifMatch string) error {
	return s.locked(func() error {
		if err := s.admitModule(id); err != nil {
			return err
		}
		if ifMatch == "" {
			return preconditionFailed("Etag missing")
		}
		return s.remove(id, ifMatch)
	})
}

func (s *Store) remove(id ID, ifMatch string) error {
	found, err := s.findIdentity(id)
	if err != nil {
		return err
	}
	if id.isSystemModule() {
		return systemModule(id)
	}
	if !etagMatches(ifMatch, found.identity.etag()) {
		return preconditionFailed("PreconditionFailed")
	}
	s.drop(found)
	return nil
}

// drop takes a device with its modules, or a module, out of the registry and
// ends their sessions. It runs in locked.
func (s *Store) drop(d *entry) {
	id := d.identity.id
	if id.Module == "" {
		delete(s.devices, id.Device)
	} else {
		delete(s.devices[id.Device].modules, id.Module)
	}
	s.removed(d)
	d.each(func(e *entry) {
		if e.session != nil {
			e.session.end(DropDeleted)
		}
	})
}

// etagMatches applies an If-Match value to an identity's etag; unlike with
// twins, it counts with or without quotes.
func etagMatches(ifMatch, etag string) bool {
	value := strings.Trim(ifMatch, `"`)
	return value == "*" || value == etag
}

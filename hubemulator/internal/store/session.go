package store

import "encoding/json"

// DropReason says why the hub ends a device's connection.
type DropReason string

// The reasons to end a device's connection.
const (
	// DropTakenOver: the same device connected again.
	DropTakenOver DropReason = "taken over by a new connection of the same device"
	// DropDeleted: the device was deleted from the registry.
	DropDeleted DropReason = "device deleted"
	// DropDisabled: the device was disabled.
	DropDisabled DropReason = "device disabled"
	// DropKeyChanged: the key that the device signed in with was replaced.
	DropKeyChanged DropReason = "device key changed"
	// DropFault: a test with the hub cut the connection.
	DropFault DropReason = "cut by a fault rule"
	// DropRestored: the device was made what it was at an earlier moment.
	DropRestored DropReason = "device restored from a snapshot"
)

// Session is the connection of a device or module as the hub sees it. Each has
// at most one; a newer one ends the older.
type Session struct {
	store      *Store
	credential Credential
	drop       func(DropReason)

	// All fields below are guarded by store.mu.
	desired func(version int64, patch map[string]any)
	methods MethodFunc
	command func(Command)
	// commandsAfter is the last message that came before the subscription.
	commandsAfter uint64
	queue         []func()
	delivering    bool
	closed        bool
}

// Connect marks a device or module connected and returns its session. An older
// session of it is dropped.
//
// drop is called at most once, when the hub ends the connection; the session
// is closed then, and the caller has to cut the network connection. It runs
// without any lock held, like the functions given to SubscribeDesired.
func (s *Store) Connect(credential Credential, drop func(DropReason)) (*Session, error) {
	session := &Session{store: s, credential: credential, drop: drop}
	err := s.locked(func() error {
		if !s.holds(credential) {
			return Unauthorized()
		}
		d := s.lookup(credential.ID)
		if d.session != nil {
			d.session.end(DropTakenOver)
		}
		d.session = session
		now, seen := s.now(), &d.edit().identity
		seen.connected, seen.connectionUpdated, seen.lastActivity = true, now, now
		s.changed(d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return session, nil
}

// AnnounceModel notes which model the device or module says that it implements.
// That stays until it says another.
func (x *Session) AnnounceModel(modelID string) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	if x.closed {
		return
	}
	d := x.store.lookup(x.credential.ID)
	d.edit().identity.modelID = modelID
	x.store.changed(d)
}

// Close marks the device disconnected. Closing a session that has ended
// already, or that a newer one replaced, changes nothing.
func (x *Session) Close() {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	if x.closed {
		return
	}
	x.closed, x.desired = true, nil
	// A session that has not ended is its device's current one: whatever
	// replaces a session, or deletes its device, ends it.
	x.store.lookup(x.credential.ID).disconnect(x.store)
}

func (d *entry) disconnect(s *Store) {
	d.session = nil
	now, seen := s.now(), &d.edit().identity
	seen.connected, seen.connectionUpdated, seen.lastActivity = false, now, now
	s.changed(d)
}

// SubscribeDesired calls notify for every later change of the device's desired
// properties, with the new $version and the change as it was written (nulls
// and all; after a replacement, the whole new content). The calls come one at
// a time, in the order of the versions, and without any lock held; notify
// should still return soon, since the writer waits for it. A second call
// replaces the first one's function; nil ends the subscription. The patch
// must not be changed.
func (x *Session) SubscribeDesired(notify func(version int64, patch map[string]any)) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	if !x.closed {
		x.desired = notify
	}
}

// Twin returns the twin as the device sees it: desired and reported with
// their $version, without tags and metadata.
func (x *Session) Twin() ([]byte, error) {
	x.store.mu.Lock()
	d, err := x.device()
	if err != nil {
		x.store.mu.Unlock()
		return nil, err
	}
	d.edit().identity.lastActivity = x.store.now()
	x.store.changed(d)
	view := d.twin.deviceView()
	x.store.mu.Unlock()
	return json.Marshal(view)
}

// PatchReported merges a JSON object into the reported properties and returns
// their new $version. With ifVersion it fails with status 412 unless that is
// the current version. Refusals are of type *Error.
func (x *Session) PatchReported(patch []byte, ifVersion *int64) (int64, error) {
	content, err := parseContent(patch)
	if err != nil {
		return 0, err
	}
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	d, err := x.device()
	if err != nil {
		return 0, err
	}
	return x.store.report(d, content, ifVersion)
}

// Report merges into the reported properties of a device or module that need not be
// connected, as it would itself.
func (s *Store) Report(id ID, patch []byte) (int64, error) {
	content, err := parseContent(patch)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(id)
	if err != nil {
		return 0, err
	}
	return s.report(d, content, nil)
}

func (s *Store) report(d *entry, content map[string]any, ifVersion *int64) (int64, error) {
	now, seen := s.clock.Now(), d.edit()
	seen.identity.lastActivity = ticksOf(now)
	defer s.changed(d)
	current := d.twin.reported
	if ifVersion != nil && *ifVersion != current.Version() {
		return 0, preconditionFailed("Reported properties version mismatch")
	}
	next := current.Merged(content, s.writing(now, 0), current.Version()+1)
	if err := s.choices.checkReportedSize(next); err != nil {
		return 0, err
	}
	seen.twin = seen.twin.withReported(next)
	return next.Version(), nil
}

func (x *Session) device() (*entry, error) {
	d := x.store.lookup(x.credential.ID)
	if d == nil || d.identity.generation != x.credential.generation {
		return nil, deviceNotFound(x.credential.ID.Device)
	}
	return d, nil
}

// end closes the session and queues its drop call. The caller runs in
// store.locked.
func (x *Session) end(reason DropReason) {
	if x.closed {
		return
	}
	x.closed, x.desired = true, nil
	drop := x.drop
	x.queue = append(x.queue, func() { drop(reason) })
	x.store.notified = append(x.store.notified, x)
}

// notifyDesired queues a change. The caller runs in store.locked.
func (x *Session) notifyDesired(version int64, patch map[string]any) {
	if notify := x.desired; notify != nil {
		x.queue = append(x.queue, func() { notify(version, patch) })
		x.store.notified = append(x.store.notified, x)
	}
}

// deliver makes the queued calls in order, without holding the lock while a
// call runs. When another goroutine is already delivering, that one goes on
// with what was queued since.
func (x *Session) deliver() {
	x.store.mu.Lock()
	if x.delivering {
		x.store.mu.Unlock()
		return
	}
	x.delivering = true
	for len(x.queue) > 0 {
		call := x.queue[0]
		x.queue = x.queue[1:]
		x.store.mu.Unlock()
		call()
		x.store.mu.Lock()
	}
	x.delivering = false
	x.store.mu.Unlock()
}

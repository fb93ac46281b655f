package store

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// The limits of messages from the cloud to a device. The lifetime and the
// number of deliveries are a new hub's settings.
const (
	maxCommandSize       = 64 << 10
	maxPendingCommands   = 50
	maxCommandDeliveries = 10
	commandLifetime      = time.Hour
)

// Command is a message from the cloud to a device.
type Command struct {
	DeviceID                         string // set by the hub
	MessageID, CorrelationID, UserID string
	ContentType, ContentEncoding     string
	Properties                       map[string]string
	Body                             []byte
	// Expiry is when the hub gives up to deliver the message; the zero time
	// means an hour from now.
	Expiry time.Time
	// Again says that the device was given the message before, and did not
	// complete it.
	Again bool `json:"-"`

	sequence uint64
}

// PropertyNames lists the application's properties in order.
func (c Command) PropertyNames() []string { return slices.Sorted(maps.Keys(c.Properties)) }

// commandQueue holds what a device has not acknowledged yet.
type commandQueue struct {
	pending []*pendingCommand
	last    uint64 // sequence number
}

type pendingCommand struct {
	Command
	expires    time.Time
	deliveries int
	holder     *Session // that it was last given to

	lock        string // the token of a device that took it over HTTPS
	lockedUntil time.Time
}

// SendCommand queues a message for a device. A connected device that has
// subscribed gets it at once.
func (s *Store) SendCommand(deviceID string, c Command) error {
	if len(c.Body) > maxCommandSize {
		return &Error{http.StatusRequestEntityTooLarge, 413001, "MessageTooLarge",
			fmt.Sprintf("A message to a device should be maximum %d bytes", maxCommandSize)}
	}
	return s.locked(func() error {
		d, err := s.find(ID{Device: deviceID})
		if err != nil {
			return err
		}
		d.dropCommands(s, nil)
		if len(d.commands.pending) >= maxPendingCommands {
			return &Error{http.StatusForbidden, 403004, "DeviceMaximumQueueDepthExceeded",
				fmt.Sprintf("The device has %d messages pending already", maxPendingCommands)}
		}
		d.commands.last++
		c.DeviceID, c.sequence = deviceID, d.commands.last
		expires := c.Expiry
		if expires.IsZero() {
			expires = s.clock.Now().Add(commandLifetime)
		}
		d.commands.pending = append(d.commands.pending, &pendingCommand{Command: c, expires: expires})
		d.dropCommands(s, nil)
		d.giveCommands(s)
		return nil
	})
}

// PurgeCommands empties a device's queue and returns how many messages were in
// it.
func (s *Store) PurgeCommands(deviceID string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(ID{Device: deviceID})
	if err != nil {
		return 0, err
	}
	d.dropCommands(s, nil)
	purged := len(d.commands.pending)
	d.dropCommands(s, func(*pendingCommand) bool { return true })
	return purged, nil
}

// dropCommands removes the messages that match, if matches is set, and all that
// have expired.
func (d *entry) dropCommands(s *Store, matches func(*pendingCommand) bool) {
	now := s.clock.Now()
	d.commands.pending = slices.DeleteFunc(d.commands.pending, func(p *pendingCommand) bool {
		return !p.expires.After(now) || matches != nil && matches(p)
	})
	d.edit().identity.pendingCommands = len(d.commands.pending)
	s.changed(d)
}

// giveCommands queues all that the device's session has not been given yet.
// The caller runs in store.locked.
func (d *entry) giveCommands(s *Store) {
	x := d.session
	if x == nil || x.command == nil {
		return
	}
	deliver, now := x.command, s.clock.Now()
	for _, p := range d.commands.pending {
		if p.isHeld(x, now) || p.sequence <= x.commandsAfter || p.deliveries >= maxCommandDeliveries {
			continue
		}
		p.holder = x
		given := p.Command
		given.Again = p.deliveries > 0
		p.deliveries++
		x.queue = append(x.queue, func() { deliver(given) })
		s.notified = append(s.notified, x)
	}
	d.dropCommands(s, func(p *pendingCommand) bool { return p.deliveries >= maxCommandDeliveries && !p.isHeld(x, now) })
}

// SubscribeCommands calls deliver for the messages that are pending and for
// all that come, in order. Each has to be completed with CompleteCommand, or
// is delivered again on the device's next connection, ten times at most. What
// was sent before a subscription that is not persistent stays in the queue.
func (x *Session) SubscribeCommands(persistent bool, deliver func(Command)) {
	_ = x.store.locked(func() error { // never fails
		if x.closed {
			return nil
		}
		d := x.store.lookup(x.credential.ID)
		if !persistent && x.command == nil {
			x.commandsAfter = d.commands.last
		}
		x.command = deliver
		d.giveCommands(x.store)
		return nil
	})
}

// UnsubscribeCommands ends what SubscribeCommands began. The messages stay.
func (x *Session) UnsubscribeCommands() {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	x.command = nil
}

// CompleteCommand removes a message that the device has.
func (x *Session) CompleteCommand(c Command) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	d, err := x.device()
	if err != nil {
		return
	}
	d.edit().identity.lastActivity = x.store.now()
	d.dropCommands(x.store, func(p *pendingCommand) bool { return p.sequence == c.sequence })
}

// Active notes that the device was heard of.
func (x *Session) Active() {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	if d, err := x.device(); err == nil {
		d.edit().identity.lastActivity = x.store.now()
		x.store.changed(d)
	}
}

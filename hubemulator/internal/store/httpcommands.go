package store

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

// lockTime is how long a device that takes a message over HTTPS may look at it
// before it is another request's: a new hub's setting, which is not established.
const lockTime = time.Minute

// LockedCommand is a message that a device took over HTTPS. It is out of the
// device's way until it is settled by the token, or the lock ends.
type LockedCommand struct {
	Command
	Token      string
	Sequence   uint64
	Deliveries int
}

// TakeCommand locks the first message of a device that no connection and no
// lock has. It returns false when there is none.
func (s *Store) TakeCommand(deviceID string) (LockedCommand, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(ID{Device: deviceID})
	if err != nil {
		return LockedCommand{}, false, err
	}
	now := s.clock.Now()
	d.edit().identity.lastActivity = ticksOf(now)
	d.dropCommands(s, func(p *pendingCommand) bool { return p.deliveries >= maxCommandDeliveries && !p.isHeld(d.session, now) })
	for _, p := range d.commands.pending {
		if p.isHeld(d.session, now) {
			continue
		}
		p.deliveries++
		p.lock, p.lockedUntil = uuid.NewString(), now.Add(lockTime)
		return LockedCommand{Command: p.Command, Token: p.lock, Sequence: p.sequence, Deliveries: p.deliveries}, true, nil
	}
	return LockedCommand{}, false, nil
}

// isHeld reports whether a message is with a connection, or with a request that
// can still settle it.
func (p *pendingCommand) isHeld(current *Session, now time.Time) bool {
	return p.holder != nil && p.holder == current || p.lockedUntil.After(now)
}

// SettleCommand ends a lock, and with it the message unless that is to be put
// back. It fails with status 412 when there is no such lock any more.
func (s *Store) SettleCommand(deviceID, token string, putBack bool) error {
	return s.locked(func() error {
		d, err := s.find(ID{Device: deviceID})
		if err != nil {
			return err
		}
		d.dropCommands(s, nil)
		now := s.clock.Now()
		d.edit().identity.lastActivity = ticksOf(now)
		for _, p := range d.commands.pending {
			if p.lock != token || !p.lockedUntil.After(now) {
				continue
			}
			p.lock, p.lockedUntil = "", time.Time{}
			if putBack {
				d.giveCommands(s)
				return nil
			}
			d.dropCommands(s, func(other *pendingCommand) bool { return other == p })
			return nil
		}
		return &Error{http.StatusPreconditionFailed, 412002, "DeviceMessageLockLost", "The message is not locked by this token, or not any more"}
	})
}

// DeviceActive notes that a device was heard of without a connection.
func (s *Store) DeviceActive(deviceID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(ID{Device: deviceID})
	if err != nil {
		return err
	}
	d.edit().identity.lastActivity = s.now()
	s.changed(d)
	return nil
}

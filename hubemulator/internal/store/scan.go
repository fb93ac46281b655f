package store

import (
	"iter"
	"time"
)

// scanned is how many twins are looked up at a time, so that writers never wait
// for a whole query.
const scanned = 256

// Scan yields the twins of a source in the order of their ids, those behind
// after only, as queries see them: late, if the hub was told so. Every twin
// that is there from the first to the last of several scans, each one going on
// behind the last id of the one before, is yielded exactly once, whatever is
// created and deleted meanwhile.
//
// No lock is held while the caller looks at a snapshot.
func (s *Store) Scan(source Source, after ID) iter.Seq2[ID, *Snapshot] {
	return func(yield func(ID, *Snapshot) bool) {
		at, last := s.clock.Now(), after
		var buffer []*Snapshot
		for more := true; more; {
			s.mu.Lock()
			buffer, last, more = s.look(buffer[:0], source, last, scanned, at)
			s.mu.Unlock()
			for _, seen := range buffer {
				if !yield(seen.identity.id, seen) {
					return
				}
			}
		}
	}
}

// look puts into a buffer what queries see at this time of the next twins
// behind an id, of at most limit. It returns the last id that it came to, and
// whether there is more behind that. It has to be called with the lock held.
func (s *Store) look(buffer []*Snapshot, source Source, after ID, limit int, at time.Time) (seen []*Snapshot, last ID, more bool) {
	if s.past == nil {
		last, more = s.index.next(source, after, limit, func(e *entry) {
			buffer = append(buffer, e.Snapshot)
		})
		return buffer, last, more
	}
	s.past.forget(at)
	last, more = s.past.histories.next(source, after, limit, func(h *history) {
		if version := s.past.visible(h, at); version != nil {
			buffer = append(buffer, version)
		}
	})
	return buffer, last, more
}

// ScanDevices is what Scan yields of some devices, whose ids are in order, or
// of their modules. It looks at nothing else, so that it costs the same however
// many there are.
func (s *Store) ScanDevices(source Source, devices []string, after ID) iter.Seq2[ID, *Snapshot] {
	return func(yield func(ID, *Snapshot) bool) {
		at := s.clock.Now()
		var buffer []*Snapshot
		for _, device := range devices {
			s.mu.Lock()
			buffer = s.lookAt(buffer[:0], source, device, at)
			s.mu.Unlock()
			for _, seen := range buffer {
				if id := seen.identity.id; id.Compare(after) > 0 && !yield(id, seen) {
					return
				}
			}
		}
	}
}

// lookAt is look for one device, or all of its modules.
func (s *Store) lookAt(buffer []*Snapshot, source Source, device string, at time.Time) []*Snapshot {
	if s.past == nil {
		s.index.ofDevice(source, device, func(e *entry) { buffer = append(buffer, e.Snapshot) })
		return buffer
	}
	s.past.forget(at)
	s.past.histories.ofDevice(source, device, func(h *history) {
		if version := s.past.visible(h, at); version != nil {
			buffer = append(buffer, version)
		}
	})
	return buffer
}

// added has to be called, with the lock held, after an entry was put into the
// registry.
func (s *Store) added(e *entry) {
	s.index.put(e.identity.id, e)
	s.changed(e)
}

// changed has to be called, with the lock held, after every change of an
// entry's identity, its twin, its queue or its subscriptions.
func (s *Store) changed(e *entry) {
	s.revision++
	if s.past != nil {
		s.past.remember(version{at: s.clock.Now(), seen: e.Snapshot})
	}
}

// removed has to be called, with the lock held, after an entry was taken out
// of the registry. A device takes its modules with it.
func (s *Store) removed(e *entry) {
	s.revision++
	e.each(func(e *entry) {
		s.index.remove(e.identity.id)
		if s.past != nil {
			s.past.remember(version{at: s.clock.Now(), seen: e.Snapshot, gone: true})
		}
	})
}

package store

import (
	"iter"
	"slices"
	"time"
)

// scanned is how many twins are copied at a time, so that writers never wait
// for a whole query.
const scanned = 256

// Scan yields the twins of a source in the order of their ids, those behind
// after only, as queries see them: late, if the hub was told so. Every twin
// that is there from the first to the last of several scans, each one going on
// behind the last id of the one before, is yielded exactly once, whatever is
// created and deleted meanwhile.
//
// A snapshot is good until the next one is yielded. No lock is held while the
// caller looks at it.
func (s *Store) Scan(source Source, after ID) iter.Seq2[ID, *Snapshot] {
	return func(yield func(ID, *Snapshot) bool) {
		at := s.clock.Now()
		ids, entries := s.scannable(source, at)
		next, found := slices.BinarySearchFunc(ids, after, ID.Compare)
		if found {
			next++
		}
		buffer := make([]Snapshot, 0, min(scanned, len(ids)-next))
		for next < len(ids) {
			end := min(next+scanned, len(ids))
			if s.past != nil {
				buffer = s.pastSnapshots(buffer[:0], ids[next:end], at)
			} else {
				buffer = s.snapshots(buffer[:0], entries[next:end])
			}
			for i := range buffer {
				if !yield(buffer[i].identity.id, &buffer[i]) {
					return
				}
			}
			next = end
		}
	}
}

// scannable lists what a query may see at this time, in order, with the
// entries unless it sees the past. The results are shared and never changed.
func (s *Store) scannable(source Source, at time.Time) ([]ID, []*entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.past != nil {
		s.past.forget(at)
		return s.past.ids(source), nil
	}
	ids := s.idsLocked(source)
	entries, found := s.ordered[source]
	if !found {
		entries = make([]*entry, 0, len(ids))
		for _, id := range ids {
			entries = append(entries, s.lookup(id))
		}
		s.ordered[source] = entries
	}
	return ids, entries
}

// snapshots appends what the entries are now, but for those that are gone.
func (s *Store) snapshots(buffer []Snapshot, entries []*entry) []Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if !e.gone {
			buffer = append(buffer, e.snapshot())
		}
	}
	return buffer
}

func (s *Store) pastSnapshots(buffer []Snapshot, ids []ID, at time.Time) []Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if seen := s.past.visible(id, at); seen != nil {
			buffer = append(buffer, *seen)
		}
	}
	return buffer
}

// changed has to be called, with the lock held, after an entry was put into
// the registry and after every change of its identity or its twin.
func (s *Store) changed(e *entry) {
	if s.past != nil {
		now, seen := s.clock.Now(), e.snapshot()
		s.past.remember(version{at: now, seen: &seen})
	}
}

// removed has to be called, with the lock held, after an entry was taken out
// of the registry. A device takes its modules with it.
func (s *Store) removed(e *entry) {
	e.each(func(e *entry) {
		e.gone = true
		if s.past != nil {
			seen := e.snapshot()
			s.past.remember(version{at: s.clock.Now(), seen: &seen, gone: true})
		}
	})
}

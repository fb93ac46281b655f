package store

import (
	"iter"
	"math"
	"slices"
)

// Frozen is what queries saw of a hub at one moment, all of it.
type Frozen struct{ twins map[Source][]*Snapshot }

// Freeze returns what queries see at this moment: late and with ghosts, if the
// hub was told so. It keeps the twins as they were in memory.
func (s *Store) Freeze() *Frozen {
	frozen := &Frozen{twins: map[Source][]*Snapshot{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.clock.Now()
	for _, source := range []Source{Devices, Modules} {
		room := make([]*Snapshot, 0, s.inView(source))
		frozen.twins[source], _, _ = s.look(room, source, ID{}, math.MaxInt, at)
	}
	return frozen
}

// inView is how many twins of a source queries see, at most.
func (s *Store) inView(source Source) int {
	if s.past == nil {
		return s.index.len(source)
	}
	return s.past.histories.len(source)
}

// Scan is the Store's Scan at the moment of the freezing.
func (f *Frozen) Scan(source Source, after ID) iter.Seq2[ID, *Snapshot] {
	return func(yield func(ID, *Snapshot) bool) {
		twins := f.twins[source]
		next, found := placeOf(after, twins)
		if found {
			next++
		}
		for i := next; i < len(twins); i++ {
			if !yield(twins[i].identity.id, twins[i]) {
				return
			}
		}
	}
}

// ScanDevices is the Store's ScanDevices at the moment of the freezing.
func (f *Frozen) ScanDevices(source Source, devices []string, after ID) iter.Seq2[ID, *Snapshot] {
	return func(yield func(ID, *Snapshot) bool) {
		twins := f.twins[source]
		for _, device := range devices {
			from, _ := placeOf(ID{Device: device}, twins)
			for i := from; i < len(twins) && twins[i].identity.id.Device == device; i++ {
				if id := twins[i].identity.id; id.Compare(after) > 0 && !yield(id, twins[i]) {
					return
				}
			}
		}
	}
}

// placeOf is where a twin is among others, or would be.
func placeOf(id ID, twins []*Snapshot) (place int, found bool) {
	return slices.BinarySearchFunc(twins, id, func(x *Snapshot, id ID) int { return x.identity.id.Compare(id) })
}
